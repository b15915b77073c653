"""Every error mdbus raises on purpose, under one root.

An error says whose fault it is and what to do; its facts are attributes, its message is built
from them. Nothing here does I/O, and nothing here is raised for a programming mistake of mdbus
itself (those stay the built-in exceptions they are).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class MdbusError(Exception):
    """The root: ``except MdbusError`` catches whatever mdbus reports, and no bug of ours."""


class Problem(NamedTuple):
    """One thing wrong with a configuration.

    ``where`` is the file or the command-line option, ``key`` the dotted setting name (empty when
    the file as a whole is wrong), ``message`` the sentence, ``hint`` what to do (may be empty).
    """

    where: str
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: {self.key}" if self.key else self.where
        text = f"{place}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(MdbusError):
    """The operator's settings cannot be used. All problems are reported at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def of(cls, key: str, message: str, *, where: str = "settings", hint: str = "") -> ConfigError:
        """One problem, for checks made outside the configuration file itself."""
        return cls([Problem(where, key, message, hint)])


class BusError(MdbusError):
    """The bus cannot be reached or refused what was asked; the message says which endpoint."""


class WireError(MdbusError):
    """Bytes on the bus break the wire format: the fault of whoever published them."""


class TopicError(WireError):
    """A topic or prefix is not of the form ``md/<stream>/<venue>/<symbol>/``."""

    def __init__(self, topic: bytes | str, why: str) -> None:
        self.topic = topic
        self.why = why
        super().__init__(f"bad topic {_excerpt(topic)}: {why}")


class PayloadError(WireError):
    """A payload is not a msgpack array of the documented fields."""

    def __init__(self, why: str, topic: bytes | str = "") -> None:
        self.topic = topic
        self.why = why
        super().__init__(f"bad payload on {_excerpt(topic)}: {why}" if topic else why)


class RequestError(WireError):
    """A snapshot or replay subscription is malformed."""

    def __init__(self, request: bytes | str, why: str) -> None:
        self.request = request
        self.why = why
        super().__init__(f"bad request {_excerpt(request)}: {why}")


def _excerpt(text: bytes | str, limit: int = 80) -> str:
    shown = repr(text[:limit])
    return f"{shown}…" if len(text) > limit else shown
