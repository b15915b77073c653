"""Invented news: growing ids, bounded memory, the same from the same seed."""

from __future__ import annotations

from bus.simulator.finnhub.news import CATEGORIES, KEPT, NewsDesk

NOW_NS = 1_723_161_253_000_000_000
DAY = "2024-08-08"
COMPANIES = [("AAPL", "APPLE INC"), ("MSFT", "MICROSOFT CORP")]


def desk(seed: int = 1, interval_s: float = 10, at_ns: int = NOW_NS) -> NewsDesk:
    return NewsDesk(COMPANIES, seed, at_ns, interval_s)


def everything(own: NewsDesk) -> list[int]:
    general = [item.id for category in CATEGORIES for item in own.general(category)]
    company = [
        item.id
        for symbol, _ in COMPANIES
        for item in own.company(symbol, "2000-01-01", "2100-01-01")
    ]
    return sorted(general + company)


def test_every_category_has_news_from_the_start() -> None:
    own = desk()
    assert all(own.general(category) for category in CATEGORIES)
    assert own.company("AAPL", DAY, DAY)


def test_the_same_seed_and_times_write_the_same_news() -> None:
    one, other = desk(), desk()
    for second in range(100):
        at_ns = NOW_NS + second * 10**9
        assert one.step(at_ns) == other.step(at_ns)
    assert one.general("crypto") == other.general("crypto")


def test_ids_are_unique_and_newest_comes_first() -> None:
    own = desk(interval_s=1)
    for second in range(300):
        own.step(NOW_NS + second * 10**9)
    ids = everything(own)
    assert len(set(ids)) == len(ids)
    for category in CATEGORIES:
        items = own.general(category)
        assert items == sorted(items, key=lambda item: -item.id)
        assert [item.datetime for item in items] == sorted(
            (item.datetime for item in items), reverse=True
        )


def test_min_id_leaves_out_what_is_known() -> None:
    own = desk(interval_s=1)
    known = own.general("general")[0].id
    for second in range(60):
        own.step(NOW_NS + second * 10**9)
    fresh = own.general("general", known)
    assert fresh
    assert all(item.id > known for item in fresh)


def test_a_restart_goes_on_with_greater_ids() -> None:
    own = desk(interval_s=1)
    for second in range(60):
        own.step(NOW_NS + second * 10**9)
    assert min(everything(desk(at_ns=NOW_NS + 120 * 10**9))) > max(everything(own))


def test_what_is_kept_is_bounded() -> None:
    own = desk(interval_s=0.05)
    for second in range(200):
        own.step(NOW_NS + second * 10**9 // 4)
    assert len(own.general("general")) <= KEPT
    assert len(own.company("AAPL", "2000-01-01", "2100-01-01")) <= KEPT


def test_a_long_pause_brings_no_flood() -> None:
    assert len(desk(interval_s=1).step(NOW_NS + 86_400 * 10**9)) <= 1


def test_a_clock_that_is_set_back_stops_nothing() -> None:
    own = desk(interval_s=1)
    own.step(NOW_NS + 10**9)
    back_ns = NOW_NS - 3_600 * 10**9
    assert not own.step(back_ns)
    assert own.step(back_ns + 9 * 10**9)


def test_company_news_are_limited_to_the_asked_days() -> None:
    own = desk()
    assert own.company("AAPL", "2024-08-09", "2024-08-10") == []
    assert own.company("NOPE", DAY, DAY) == []


def test_written_company_items_name_their_symbol() -> None:
    own = desk(interval_s=1)
    items = [item for second in range(30) for item in own.step(NOW_NS + second * 10**9)]
    assert items
    assert {item.related for item in items} <= {"AAPL", "MSFT"}
    assert {item.category for item in items} == {"company"}
