"""Which settings and run directory a command means."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from bus.config import Settings
from bus.errors import ConfigError
from bus.supervision.locate import (
    config_file,
    default_run_dir,
    origin_of,
    run_path_for,
    settings_for,
)


def words(**values: object) -> argparse.Namespace:
    return argparse.Namespace(**{"config": None, "run_dir": None, "overrides": [], **values})


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"MDBUS_RUN_DIR": "/x/y"},
        {"XDG_RUNTIME_DIR": "/run/user/7"},
        {"MDBUS_RUN_DIR": "/x/y", "XDG_RUNTIME_DIR": "/run/user/7"},
        {"MDBUS_RUN_DIR": "", "XDG_RUNTIME_DIR": ""},
    ],
)
def test_the_short_cut_agrees_with_the_settings(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MDBUS_RUN_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_run_dir() == str(Settings().run_path)


def test_the_file_in_the_current_directory_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert config_file(words()) is None
    (tmp_path / "mdbus.toml").write_text('run_dir = "/somewhere"\n')
    assert run_path_for(words()) == Path("/somewhere")
    assert settings_for(words(overrides=["bridge.port=9"])).bridge.port == 9


def test_a_named_run_directory_wins(tmp_path: Path) -> None:
    assert run_path_for(words(run_dir="/a")) == Path("/a")
    assert settings_for(words(run_dir=str(tmp_path))).run_path == tmp_path


def test_a_running_bus_is_found_whatever_else_is_wrong_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('run_dir = "/a"\n[bridge]\nprot = 1\n')
    assert run_path_for(words(config=str(file))) == Path("/a")
    file.write_text("[bridge\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        run_path_for(words(config=str(file)))


def test_where_settings_came_from_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    origin = origin_of(words(overrides=["bridge.port=9"], run_dir="run"), ["binance"])
    assert origin.file == tmp_path / "mdbus.toml"
    assert not origin.required
    assert origin.read().bridge.port == 9
    assert origin.read().run_path == tmp_path / "run"
    assert origin_of(words(config="x.toml")).required
