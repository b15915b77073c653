"""config init, check and show."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bus.config import Settings, load
from bus.supervision.cli import main


def test_init_writes_a_file_that_checks_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["config", "init"]) == 0
    assert load("mdbus.toml") == Settings()
    assert main(["config", "check"]) == 0
    assert "mdbus.toml: ok" in capsys.readouterr().out


def test_init_replaces_nothing_unless_told_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my.toml"
    path.write_text("# mine")
    assert main(["config", "init", "--config", str(path)]) == 1
    assert "--force" in capsys.readouterr().err
    assert path.read_text() == "# mine"
    assert main(["config", "init", "--config", str(path), "--force"]) == 0
    assert path.read_text() != "# mine"


def test_show_gives_the_settings_in_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my.toml"
    path.write_text("[bridge]\nworkers = 3\n")
    assert main(["config", "show", "--config", str(path), "--set", "bridge.port=9"]) == 0
    shown = tmp_path / "shown.toml"
    shown.write_text(capsys.readouterr().out)
    assert (load(shown).bridge.workers, load(shown).bridge.port) == (3, 9)


def test_every_problem_is_reported_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my.toml"
    path.write_text('[bridge]\nprt = 1\nworkers = "two"\n[supervisor]\nhang_timeout_s = 0.1\n')
    assert main(["config", "check", "--config", str(path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(str(path) in line for line in lines)
    assert "did you mean bridge.port?" in lines[0]


def test_a_unit_file_for_systemd_names_this_python_and_these_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["config", "init", "--systemd", "--config", "my.toml"]) == 0
    text = (tmp_path / "mdbus.service").read_text()
    assert f"{sys.executable} -P -m bus.supervision up --config {tmp_path / 'my.toml'}" in text
    assert main(["config", "init", "--systemd"]) == 1, "it is there already"
    assert "--force" in capsys.readouterr().err
    assert main(["config", "init", "--systemd-user", "--force"]) == 0
    assert "WantedBy=default.target" in (tmp_path / "mdbus.service").read_text()


def test_a_service_runs_as_whoever_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root it would run a Python that others may change."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 12_345_678)
    assert main(["config", "init", "--systemd"]) == 0
    assert "\nUser=12345678\n" in (tmp_path / "mdbus.service").read_text(), "who has no name"
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert main(["config", "init", "--systemd", "--force"]) == 0
    assert "\nUser=" not in (tmp_path / "mdbus.service").read_text()
