"""How any program speaks to the bus: :class:`Publisher` puts ticks on it."""

from bus.client.publisher import Publisher, PublisherStats, TopicWriter

__all__ = ["Publisher", "PublisherStats", "TopicWriter"]
