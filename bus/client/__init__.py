"""How any program speaks to the bus.

:class:`Publisher` puts ticks on it; :class:`Subscriber` (blocking) and :class:`AsyncSubscriber`
take them off. :class:`Inbox` is the consumer's half of the protocol without I/O, for whoever
drives a socket of their own.
"""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bus.client.async_subscriber import AsyncSubscriber
    from bus.client.deliveries import (
        Command,
        Delivery,
        EpochChanged,
        GapFound,
        Message,
        SnapshotEnded,
        Subscribe,
        Unsubscribe,
    )
    from bus.client.events import EpochChange, Event, Gap, SnapshotEnd, SubscriberStats, Update
    from bus.client.inbox import Inbox
    from bus.client.limits import InboxLimits, InboxStats
    from bus.client.publisher import Publisher, PublisherStats, TopicWriter
    from bus.client.subscriber import Subscriber

__all__ = [
    "AsyncSubscriber",
    "Command",
    "Delivery",
    "EpochChange",
    "EpochChanged",
    "Event",
    "Gap",
    "GapFound",
    "Inbox",
    "InboxLimits",
    "InboxStats",
    "Message",
    "Publisher",
    "PublisherStats",
    "SnapshotEnd",
    "SnapshotEnded",
    "Subscribe",
    "Subscriber",
    "SubscriberStats",
    "TopicWriter",
    "Unsubscribe",
    "Update",
]

_HOMES: Final = {
    "AsyncSubscriber": "async_subscriber",
    "Command": "deliveries",
    "Delivery": "deliveries",
    "EpochChanged": "deliveries",
    "GapFound": "deliveries",
    "Message": "deliveries",
    "SnapshotEnded": "deliveries",
    "Subscribe": "deliveries",
    "Unsubscribe": "deliveries",
    "EpochChange": "events",
    "Event": "events",
    "Gap": "events",
    "SnapshotEnd": "events",
    "SubscriberStats": "events",
    "Update": "events",
    "Inbox": "inbox",
    "InboxLimits": "limits",
    "InboxStats": "limits",
    "Publisher": "publisher",
    "PublisherStats": "publisher",
    "TopicWriter": "publisher",
    "Subscriber": "subscriber",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: a program without an event loop need not import asyncio."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
