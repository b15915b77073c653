"""Settings of the supervisor: ``[supervisor]``."""

from __future__ import annotations

from bus.config.field import section, setting


@section
class SupervisorSettings:
    """How processes are started, watched, restarted and stopped."""

    log_max_bytes: int = setting(
        10_485_760,
        unit="bytes",
        minimum=10_000,
        doc="A process's log file larger than this is set aside as NAME.log.1 (the one before as "
        "NAME.log.2, and so on) and a fresh one is begun.",
    )
    log_files: int = setting(
        3,
        minimum=2,
        maximum=100,
        doc="Log files kept for each process, the current one included. All logs together take "
        "about `log_max_bytes` times this for each process and one for the supervisor.",
    )
    template: bool = setting(
        True,
        doc="Whether all processes are forked from one that has imported their code, the template: "
        "they start in milliseconds and share the memory of what was imported. false: each is an "
        "interpreter of its own and imports for itself.",
    )
    spares: int = setting(
        1,
        minimum=0,
        maximum=8,
        doc="Processes that were forked already and wait to take over from one that crashed, which "
        "then serves again some milliseconds sooner. None without `template`.",
    )
    max_rss_bytes: int = setting(
        4_294_967_296,
        unit="bytes",
        minimum=0,
        doc="A process that takes more memory for six seconds is replaced in good order; one that "
        "takes half as much again is killed and started anew. 0: no ceiling.",
    )
    max_fds: int = setting(
        0,
        minimum=0,
        doc="A process with more file descriptors open for six seconds is replaced in good order. "
        "0: nine tenths of what the system allows (`ulimit -n`, which is raised as far as it "
        "goes).",
    )
    give_up: str = setting(
        "never",
        choices=("never", "broker", "any"),
        doc="Whether the supervisor stops everything and exits with 1 once the broker, or any "
        "process, counts as failing: for a container or a service manager that is to notice.",
    )
    ready_timeout_s: float = setting(
        30.0,
        unit="s",
        minimum=1.0,
        maximum=600.0,
        doc="How long a process may take from its start until it says that it serves.",
    )
    hang_timeout_s: float = setting(
        5.0,
        unit="s",
        minimum=2.0,
        maximum=600.0,
        doc="A process whose own loop has sent no heartbeat for this long has its stacks written "
        "to its log, is killed and is started again.",
    )
    stop_grace_s: float = setting(
        5.0,
        unit="s",
        minimum=0.1,
        maximum=300.0,
        doc="How long a process may take to drain after SIGTERM before its group is killed. A "
        "bridge has as long as `bridge.max_connections` clients need, if that is longer.",
    )
    stop_deadline_s: float = setting(
        0.0,
        unit="s",
        minimum=0.0,
        maximum=3_600.0,
        doc="How long stopping everything may take; whatever is left is then killed. 0: as long "
        "as every process may take. Not less than a bridge with `bridge.max_connections` clients "
        "needs to close them.",
    )
    orphan_drain_s: float = setting(
        0.8,
        unit="s",
        minimum=0.1,
        maximum=30.0,
        doc="How long a process may take to leave when its supervisor is gone.",
    )
    stable_after_s: float = setting(
        5.0,
        unit="s",
        minimum=0.1,
        maximum=600.0,
        doc="A process that served this long is stable: its next crash is its first again and is "
        "followed by an immediate restart.",
    )
    backoff_first_s: float = setting(
        0.1,
        unit="s",
        minimum=0.01,
        maximum=60.0,
        doc="The wait before the second restart in a row; it doubles with each further one.",
    )
    backoff_cap_s: float = setting(
        10.0,
        unit="s",
        minimum=0.1,
        maximum=600.0,
        doc="The longest wait between restarts.",
    )
    unstable_limit: int = setting(
        10,
        minimum=1,
        maximum=1_000,
        doc="After this many unstable starts in a row a process counts as failing: `mdbus check` "
        "says so, and it is tried again only at the longest wait.",
    )
    crash_limit: int = setting(
        20,
        minimum=1,
        maximum=10_000,
        doc="After this many crashes within `crash_window_s` a process counts as failing too, "
        "however long it served each time.",
    )
    crash_window_s: float = setting(
        600.0,
        unit="s",
        minimum=1.0,
        maximum=86_400.0,
        doc="The window of `crash_limit`.",
    )
