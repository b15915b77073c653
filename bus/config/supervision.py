"""Settings of the supervisor: ``[supervisor]``."""

from __future__ import annotations

from dataclasses import dataclass

from bus.config.field import setting


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """How processes are started, watched and stopped."""

    hang_timeout_s: float = setting(
        5.0, unit="s", minimum=1, doc="A process silent for this long is killed and restarted."
    )
    ready_timeout_s: float = setting(
        30.0, unit="s", minimum=1, doc="A process not ready after this long counts as failed."
    )
    stop_grace_s: float = setting(
        5.0, unit="s", minimum=0, doc="Time between asking a process to stop and killing it."
    )
