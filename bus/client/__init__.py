"""How any program speaks to the bus.

:class:`Publisher` puts ticks on it; :class:`Subscriber` (blocking) and :class:`AsyncSubscriber`
take them off. :class:`Inbox` is the consumer's half of the protocol without I/O, for whoever
drives a socket of their own.
"""

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
