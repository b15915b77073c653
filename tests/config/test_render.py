"""The printed settings load back, and the docs hold every one."""

from __future__ import annotations

import re
from pathlib import Path

from bus.config import Settings, load
from bus.config.render import default_toml, known_keys, settings_table, to_toml

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_default_file_loads_back_as_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mdbus.toml"
    path.write_text(default_toml(), encoding="utf-8")
    assert load(path) == Settings()


def test_settings_in_force_load_back(tmp_path: Path) -> None:
    settings = load(
        None,
        [
            "mode=live",
            "bridge.port=9000",
            'feeds.binance.symbols=["A\\"B", "\\u00e9"]',
            "run_dir=/x",
        ],
    )
    path = tmp_path / "effective.toml"
    path.write_text(to_toml(settings), encoding="utf-8")
    assert load(path) == settings


def test_every_setting_has_a_comment_in_the_default_file() -> None:
    lines = default_toml().splitlines()
    for number, line in enumerate(lines):
        inside_a_table = any(
            name in "".join(lines[:number][-15:]) for name in ("aliases", "ports]")
        )
        if line and line[0].islower() and not inside_a_table:
            assert lines[number - 1].startswith("#"), line


def test_the_documented_table_is_the_one_the_code_makes() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert settings_table() in page, (
        "docs/configuration.md is out of date; print the table with: "
        "python -c 'from bus.config.render import settings_table; print(settings_table())'"
    )


def test_every_row_of_the_table_has_its_backticks_in_pairs() -> None:
    for row in settings_table().splitlines()[2:]:
        cells = re.split(r"(?<!\\)\|", row)[1:-1]
        assert len(cells) == 4, row
        assert all(cell.count("`") % 2 == 0 for cell in cells), row
        assert cells[1].count("`") == 2, row


def test_every_key_is_listed_once() -> None:
    keys = known_keys()
    assert len(keys) == len(set(keys))
    assert "bridge.port" in keys
    assert "feeds.binance.symbols" in keys
