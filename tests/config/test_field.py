"""A setting is declared once; a section of them is a frozen dataclass to who uses it."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import typing

import pytest

from bus.config import Settings
from bus.config.bridge import BridgeSettings
from bus.config.field import below, is_section, meanings, range_of, section, setting


@section
class Part:
    depth: int = setting(1, doc="How deep.")


@section
class Example:
    size: int = setting(3, doc="How many.", unit="items", minimum=1, maximum=9)
    table: dict[str, str] = setting({"a": "b"}, doc="A table.")
    part: Part = below(Part)

    @property
    def twice(self) -> int:
        return self.size * 2


def test_the_declaration_stays_with_the_key() -> None:
    declared = meanings(Example)["size"]
    assert declared is not None
    assert (declared.doc, declared.unit, declared.minimum, declared.maximum) == (
        "How many.",
        "items",
        1,
        9,
    )
    assert Example().size == 3
    assert Example().twice == 6
    assert meanings(Example())["part"] is None
    assert list(meanings(Example)) == ["size", "table", "part"]


def test_ranges_are_open_where_nothing_is_said() -> None:
    assert range_of(Example, "size") == (1, 9)
    assert range_of(Part, "depth") == (-math.inf, math.inf)
    for name in ("part", "nothing"):
        with pytest.raises(KeyError):
            range_of(Example, name)


def test_tables_are_not_shared_between_instances() -> None:
    assert Example().table == Example().table
    assert Example().table is not Example().table


def test_a_key_that_is_not_declared_is_a_mistake() -> None:
    with pytest.raises(TypeError, match=r"Plain\.x is not declared"):

        @section
        class Plain:
            x: int = 1


def test_keys_are_given_by_position_or_name_and_once() -> None:
    assert Example(4) == Example(size=4)
    for wrong in (lambda: Example(4, size=4), lambda: Example(siz=4), lambda: Part(1, 2)):  # type: ignore[misc,call-arg]
        with pytest.raises(TypeError):
            wrong()


def test_equal_values_make_equal_sections_of_one_kind() -> None:
    assert Example() == Example()
    assert Example() != Example(size=4)
    other: object = Example()
    assert Part() != other
    assert hash(Part()) == hash(Part(1))
    assert len({Part(), Part(1), Part(2)}) == 2
    assert repr(Part(2)) == "Part(depth=2)"


def test_nothing_can_be_changed() -> None:
    part = Part()
    with pytest.raises(dataclasses.FrozenInstanceError):
        part.depth = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del part.depth
    assert part.depth == 1


def test_dataclasses_takes_it_for_its_own() -> None:
    changed = dataclasses.replace(Example(), size=4, part=Part(2))
    assert changed == Example(4, {"a": "b"}, Part(2))
    assert [field.name for field in dataclasses.fields(Example)] == ["size", "table", "part"]
    assert dataclasses.is_dataclass(Part)
    assert dataclasses.asdict(changed) == {"size": 4, "table": {"a": "b"}, "part": {"depth": 2}}
    with pytest.raises(TypeError):
        dataclasses.replace(Part(), dept=2)


def test_the_settings_are_sections_with_types_that_can_be_had() -> None:
    assert is_section(Settings)
    assert is_section(Settings().bridge)
    assert not is_section({})
    assert typing.get_type_hints(BridgeSettings)["port"] is int
    assert copy.deepcopy(Settings()) == Settings() == pickle.loads(pickle.dumps(Settings()))
