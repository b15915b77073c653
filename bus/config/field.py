"""One declaration per setting: name, default, unit, range and meaning in one place.

The loader checks against it, the commented default file and the docs table are printed from it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What :func:`setting` declares beside the default."""

    doc: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


def setting(
    default: T,
    *,
    doc: str,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> T:
    """Declare one field of a frozen settings dataclass.

    ``doc`` is one or two sentences for the operator; ``unit`` is empty only where the name or the
    type says it all. Mutable defaults (tables) are copied for each instance.
    """
    metadata = {"meaning": Meaning(doc, unit, minimum, maximum, choices)}
    if isinstance(default, dict):
        copied: Any = dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
        return copied  # type: ignore[no-any-return]
    field: Any = dataclasses.field(default=default, metadata=metadata)
    return field  # type: ignore[no-any-return]


def meaning(field: dataclasses.Field[Any]) -> Meaning | None:
    """The declaration of a dataclass field, or ``None`` for a section (a nested dataclass)."""
    found = field.metadata.get("meaning")
    return found if isinstance(found, Meaning) else None


def range_of(section: type, name: str) -> tuple[float, float]:
    """The least and the greatest value of the setting ``name`` of a section's dataclass."""
    for field in dataclasses.fields(section):
        if field.name == name and (found := meaning(field)) is not None:
            low, high = found.minimum, found.maximum
            return -math.inf if low is None else low, math.inf if high is None else high
    raise KeyError(name)
