"""What a supervised process needs from its surroundings; the supervisor provides it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from bus.supervision.events import Happening
from bus.supervision.generation import Sender
from bus.supervision.plan import ProcessSpec
from bus.supervision.spawn import Child
from bus.wire.link import LinkMessage

if TYPE_CHECKING:
    from bus.supervision.unit import Unit


class Ground(Protocol):
    """The supervisor, as one of its processes sees it."""

    def launch(self, spec: ProcessSpec, generation: int, on_exit: Callable[[int], None]) -> Child:
        """Start the process; raises `OSError` when it cannot be started."""
        ...

    def send(self, sender: Sender, message: LinkMessage) -> bool:
        """Say something to a generation; whether it is there to hear it."""
        ...

    def hear(self, sender: Sender) -> None:
        """Hand over the last words of one spawn, which nobody has read yet."""
        ...

    def feel_pulses(self) -> None:
        """Note the heartbeats that nobody has looked at yet."""
        ...

    def gone(self, unit: Unit) -> None:
        """The current generation has ended and is reaped."""
        ...

    def ended(self, sender: Sender) -> None:
        """A generation, the current one or another, has ended and is reaped."""
        ...

    def log_tail(self, sender: Sender) -> Sequence[str]:
        """The last lines of the process's log, of that generation alone."""
        ...

    def served(self, unit: Unit) -> None:
        """The process has become ready."""
        ...

    def tell(self, happening: Happening) -> None:
        """Something happened that an operator may want to see."""
        ...
