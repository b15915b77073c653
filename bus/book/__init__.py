"""Order books: the levels themselves, and joining a snapshot to a stream of diffs. Pure."""

from bus.book.order_book import Level, OrderBook
from bus.book.sync import BookSync, Diff, SyncAction, SyncState, SyncStats

__all__ = ["BookSync", "Diff", "Level", "OrderBook", "SyncAction", "SyncState", "SyncStats"]
