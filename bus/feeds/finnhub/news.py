"""News of one feed: items from REST and from the WebSocket, merged by id, each published once.

The category asked for is the topic (``md/news/<venue>/<category>/``): the ``category`` inside an
item is another thing (``technology``, ``business``). Items about one company, from REST and from
the WebSocket, go to ``company``. An item that is in two categories is on both topics, once each.
After a restart of the feed the latest items are published again: ``id`` tells.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from bus.client import Publisher, TopicWriter
from bus.feeds.finnhub.parser import NewsItem
from bus.feeds.recent import RecentIds
from bus.model import News
from bus.model.topic import Topic

NS_PER_S = 1_000_000_000
REMEMBERED = 20_000


class NewsDesk:
    """Publishes news. ``published`` counts items; repeats are counted in ``repeats``."""

    def __init__(self, publisher: Publisher, venue_label: str) -> None:
        self._publisher = publisher
        self._venue_label = venue_label
        self._writers: dict[str, TopicWriter] = {}
        self._seen: RecentIds[tuple[str, str]] = RecentIds(REMEMBERED)
        self._latest: dict[str, int] = {}
        self.published = 0

    @property
    def repeats(self) -> int:
        """Items that came again and were dropped."""
        return self._seen.repeats

    def latest_id(self, category: str) -> int:
        """The greatest numeric id seen in a category, 0 before the first: the next ``minId``."""
        return self._latest.get(category, 0)

    def publish(self, category: str, items: Iterable[NewsItem], recv_ns: int) -> int:
        """Publish what is new, oldest first; how many that were."""
        count = 0
        for item in sorted(items, key=lambda item: item.published_s):
            if isinstance(item.id_, int):
                self._latest[category] = max(self._latest.get(category, 0), item.id_)
            if not self._seen.is_new((category, str(item.id_))):
                continue
            self._writer(category).publish(
                to_news(category, item),
                venue_ts_ns=item.published_s * NS_PER_S,
                recv_ts_ns=recv_ns,
            )
            count += 1
        self.published += count
        return count

    def _writer(self, category: str) -> TopicWriter:
        writer = self._writers.get(category)
        if writer is None:
            writer = self._publisher.writer(Topic.md("news", self._venue_label, category))
            self._writers[category] = writer
        return writer


def to_news(category: str, item: NewsItem) -> News:
    """An item as the bus carries it: entities resolved, empty texts as None, symbols split."""
    related = (item.related or "").split(",")
    return News(
        id=str(item.id_),
        headline=html.unescape(item.headline).strip(),
        summary=_text(item.summary),
        url=item.url or None,
        image=item.image or None,
        publisher=_text(item.publisher),
        category=category,
        symbols=[symbol for part in related if (symbol := part.strip())],
        published_ts_ns=item.published_s * NS_PER_S,
    )


def _text(value: str | None) -> str | None:
    return html.unescape(value).strip() or None if value else None
