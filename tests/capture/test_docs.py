"""The page on captures says what the code does."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from bus.capture import Again, Frame, Record, Sent, records
from bus.capture.blocks import FRESH_EVERY_BYTES, MAGIC
from bus.config.feeds import FeedSettings
from bus.feeds.capture import CaptureStats
from tests.capture.makers import write

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "capture.md").read_text(encoding="utf-8")


def test_every_setting_has_its_row() -> None:
    names = [field.name for field in dataclasses.fields(FeedSettings)]
    for name in names:
        if name.startswith("capture"):
            assert f"| `{name}` |" in PAGE, name


def test_every_kind_of_record_has_its_row_and_its_fields() -> None:
    kinds: dict[type[Record], int] = {**records._KINDS, Frame: 3, Sent: 4, Again: 8}
    for type_, kind in kinds.items():
        row = re.search(rf"^\| {kind} \| {type_.__name__} \|(.*)$", PAGE, re.MULTILINE)
        assert row is not None, type_
        if type_ in records._KINDS:
            for name in type_.__struct_fields__[2:]:
                assert re.search(rf"\b{name}\b", row[1]), f"{type_.__name__}.{name}"


def test_every_counter_is_named() -> None:
    for field in dataclasses.fields(CaptureStats):
        assert f"`capture_{field.name}`" in PAGE, field.name


def test_the_numbers_are_those_of_the_code() -> None:
    assert MAGIC == b"mdcap\x001\n"
    assert repr(MAGIC.decode())[1:-1] in PAGE
    assert FRESH_EVERY_BYTES == 4 << 20


def test_the_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    data, _ = write([[Frame(17, 1, b"one")], [Frame(18, 1, b"two")]])
    path = tmp_path / "a.mdcap"
    path.write_bytes(data[:-15])
    names: dict[str, object] = {}
    exec(example[1], names)
    frames = names["frames"]
    assert callable(frames)
    assert list(frames(path)) == [(17, b"one")]
    assert "the last block is cut short" in capsys.readouterr().out
