"""A setting is declared once: default, unit, range and meaning."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from bus.config.field import meaning, setting


@dataclass(frozen=True)
class Example:
    size: int = setting(3, doc="How many.", unit="items", minimum=1, maximum=9)
    table: dict[str, str] = setting({"a": "b"}, doc="A table.")


def test_the_declaration_stays_with_the_field() -> None:
    field = dataclasses.fields(Example)[0]
    declared = meaning(field)
    assert declared is not None
    assert (declared.doc, declared.unit, declared.minimum, declared.maximum) == (
        "How many.",
        "items",
        1,
        9,
    )
    assert Example().size == 3


def test_tables_are_not_shared_between_instances() -> None:
    assert Example().table == Example().table
    assert Example().table is not Example().table


def test_a_field_that_is_no_setting_has_no_meaning() -> None:
    @dataclass
    class Plain:
        x: int = 1

    assert meaning(dataclasses.fields(Plain)[0]) is None
