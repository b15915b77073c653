"""The bounds of one book, and what it counts: frozen values, one sentence for each field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bus.book import SyncStats


@dataclass(frozen=True, slots=True)
class BookLimits:
    """Bounds and intervals of one book; see the settings of the same names."""

    orderbook_levels: int = 20
    book_max_levels: int = 20_000
    buffer_diffs: int = 20_000
    depth_snapshot_deltas: int = 1_000
    depth_snapshot_s: float = 30.0
    book_refresh_s: float = 0.0


@dataclass(frozen=True, slots=True)
class BookStats:
    """Counters of one book.

    ``syncs`` completed (1 = never lost), ``refreshes`` completed, times found ``crossed``, venue
    quotes that agreed with the book at the same update id and that did not (``audit_ok``,
    ``audit_mismatch``), refreshes begun by reason (``audit``, ``edge``, ``age``, ``depth``), levels
    forgotten at the bound, and the synchronisation's own counters.
    """

    syncs: int
    refreshes: int
    crossed: int
    audit_ok: int
    audit_mismatch: int
    refreshes_begun: Mapping[str, int]
    trimmed_levels: int
    sync: SyncStats
