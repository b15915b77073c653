"""Settings of the broker: ``[broker]``."""

from __future__ import annotations

from bus.config.field import section, setting


@section
class BrokerSettings:
    """Where the broker binds, what it keeps, and how much of it."""

    publish: str = setting(
        "",
        unit="endpoint",
        doc="Where publishers connect. Empty: ipc in the run directory. tcp://127.0.0.1:PORT for "
        "programs without access to that; other machines come by a tunnel (ssh, WireGuard).",
    )
    subscribe: str = setting(
        "",
        unit="endpoint",
        doc="Where subscribers connect. Empty: ipc in the run directory. tcp://127.0.0.1:PORT for "
        "programs without access to that; other machines come by a tunnel (ssh, WireGuard).",
    )
    send_hwm: int = setting(
        100_000,
        unit="messages",
        minimum=0,
        doc="High-water mark towards each subscriber; beyond it ZeroMQ drops for that subscriber "
        "alone, which sees a gap and repairs it by replay. 0 means no limit.",
    )
    receive_hwm: int = setting(
        100_000,
        unit="messages",
        minimum=0,
        doc="High-water mark from each publisher. 0 means no limit.",
    )
    trades_ring: int = setting(
        1_000, unit="messages", minimum=1, doc="Trades kept per topic for replay."
    )
    trades_ring_age_s: float = setting(
        300.0, unit="s", minimum=1, doc="Trades older than this are not replayed."
    )
    news_ring: int = setting(
        500, unit="messages", minimum=1, doc="News items kept per category for replay."
    )
    depth_ring: int = setting(
        5_000,
        unit="messages",
        minimum=100,
        doc="Depth messages kept per topic. When the last depth snapshot is further back than "
        "that, late joiners get none of the topic until the next one, and it is counted.",
    )
    answer_rate: int = setting(
        200_000,
        unit="messages/s",
        minimum=1_000,
        doc="Speed limit of one snapshot or replay after its first 20,000 messages (or half of "
        "send_hwm), so that a large one does not run over the consumer's high-water mark.",
    )
    max_topics: int = setting(
        50_000,
        unit="topics",
        minimum=1,
        doc="Topics cached; messages of further topics pass through uncached, and are counted.",
    )
    max_bytes: int = setting(
        1_073_741_824,
        unit="bytes",
        minimum=1_048_576,
        doc="Memory for cached messages; beyond it the largest rings lose their oldest half, "
        "counted. Last values are never dropped.",
    )
