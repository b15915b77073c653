"""One declaration per setting: name, default, unit, range and meaning in one place.

The loader checks against it, the commented default file and the docs table are printed from it.

A section is a frozen dataclass to who uses it (and to type checkers), but is not made by
`dataclasses`: that writes and compiles six functions for each class, and with what it imports for
it takes longer than reading and checking the settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, NoReturn, TypeVar, dataclass_transform

T = TypeVar("T")
_DECLARED: Final = "__declared__"


class Meaning(NamedTuple):
    """What :func:`setting` declares beside the default."""

    doc: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


class _Declared(NamedTuple):
    """A key of a section; ``meaning`` is None for another section, or a table of them."""

    default: Callable[[], Any]
    meaning: Meaning | None


def setting(
    default: T,
    *,
    doc: str,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> T:
    """Declare one key of a section.

    ``doc`` is one or two sentences for the operator; ``unit`` is empty only where the name or the
    type says it all. Mutable defaults (tables) are copied for each instance.
    """
    declared = Meaning(doc, unit, minimum, maximum, choices)
    copied = (lambda: dict(default)) if isinstance(default, dict) else (lambda: default)
    key: Any = _Declared(copied, declared)
    return key  # type: ignore[no-any-return]


def below(default: Callable[[], T]) -> T:
    """Declare a section inside a section, or a table of them; ``default`` makes one."""
    key: Any = _Declared(default, None)
    return key  # type: ignore[no-any-return]


@dataclass_transform(frozen_default=True)
def section(kind: type[T]) -> type[T]:
    """Make a class whose keys are all declared by `setting` or `below` a section.

    Its instances are made of keys by position or name, are equal when their values are, and
    cannot be changed. `dataclasses.replace` and `dataclasses.fields` take them. Raises TypeError
    for a key that is not declared.
    """
    declared = {name: kind.__dict__.get(name) for name in kind.__annotations__}
    for name, key in declared.items():
        if not isinstance(key, _Declared):
            raise TypeError(f"{kind.__name__}.{name} is not declared by setting() or below()")
        delattr(kind, name)
    setattr(kind, _DECLARED, declared)
    for method in (_init, _eq, _hash, _repr, _setattr, _delattr):
        setattr(kind, f"_{method.__name__}__", method)
    setattr(kind, "__dataclass_fields__", _Fields())  # noqa: B010  # as the others are set
    return kind


def is_section(kind: Any) -> bool:
    """Whether it is a class made by `section`, or an instance of one."""
    return hasattr(kind, _DECLARED)


def meanings(kind: Any) -> dict[str, Meaning | None]:
    """The keys of a section or of its class, in order; None for sections and tables of them."""
    declared: Mapping[str, _Declared] = getattr(kind, _DECLARED)
    return {name: key.meaning for name, key in declared.items()}


def range_of(kind: type, name: str) -> tuple[float, float]:
    """The least and the greatest value of the setting ``name`` of a section's class."""
    found = meanings(kind)[name]
    if found is None:
        raise KeyError(name)
    low, high = found.minimum, found.maximum
    return -math.inf if low is None else low, math.inf if high is None else high


def _init(self: Any, *values: Any, **named: Any) -> None:
    declared: Mapping[str, _Declared] = getattr(self, _DECLARED)
    given = dict(zip(declared, values, strict=False))
    wrong = [name for name in named if name not in declared or name in given]
    if wrong or len(values) > len(declared):
        what = f"twice or unknown: {', '.join(wrong)}" if wrong else "too many values"
        raise TypeError(f"{type(self).__name__}(): {what}")
    given |= named
    for name, key in declared.items():
        self.__dict__[name] = given[name] if name in given else key.default()


def _eq(self: Any, other: object) -> object:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self.__dict__ == other.__dict__


def _hash(self: Any) -> int:
    return hash(tuple(self.__dict__.values()))


def _repr(self: Any) -> str:
    values = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
    return f"{type(self).__qualname__}({values})"


def _setattr(self: Any, name: str, value: object) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(self: Any, name: str) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


class _Fields:
    """What `dataclasses` knows its own by, made when it first asks."""

    def __get__(self, _: object, kind: type) -> Any:
        import dataclasses

        declared: Mapping[str, _Declared] = getattr(kind, _DECLARED)
        keys = [
            (name, kind.__annotations__[name], dataclasses.field(default_factory=key.default))
            for name, key in declared.items()
        ]
        made: Any = dataclasses.make_dataclass(kind.__name__, keys)
        setattr(kind, "__dataclass_fields__", made.__dataclass_fields__)  # noqa: B010
        return made.__dataclass_fields__
