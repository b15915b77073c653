"""How any program speaks to the bus.

:class:`Publisher` puts ticks on it. :class:`Inbox` is the consumer's half of the protocol without
I/O, for whoever drives a socket of their own.
"""

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
from bus.client.inbox import Inbox
from bus.client.limits import InboxLimits, InboxStats
from bus.client.publisher import Publisher, PublisherStats, TopicWriter

__all__ = [
    "Command",
    "Delivery",
    "EpochChanged",
    "GapFound",
    "Inbox",
    "InboxLimits",
    "InboxStats",
    "Message",
    "Publisher",
    "PublisherStats",
    "SnapshotEnded",
    "Subscribe",
    "TopicWriter",
    "Unsubscribe",
]
