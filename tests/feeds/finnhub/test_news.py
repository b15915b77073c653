"""Every item once per category, oldest first, in plain text."""

from __future__ import annotations

from bus.feeds.finnhub.news import NewsDesk, to_news
from bus.feeds.finnhub.parser import NewsItem
from bus.model import News
from tests.feeds.tap import Tap


def item(id_: int | str, published_s: int = 100, headline: str = "Words") -> NewsItem:
    return NewsItem(id_, published_s, headline, category="technology")


def desk() -> tuple[Tap, NewsDesk]:
    tap = Tap()
    return tap, NewsDesk(tap.as_publisher(), "sim")


def test_an_item_as_the_bus_carries_it() -> None:
    raw = NewsItem(
        7, 100, " A &amp; B ", "business", "", "AAPL, MSFT,,", "Reuters &gt;", "&lt;b&gt;", None
    )
    assert to_news("general", raw) == News(
        "7", "A & B", "<b>", None, None, "Reuters >", "general", ["AAPL", "MSFT"], 100_000_000_000
    )


def test_the_category_asked_for_is_the_topic() -> None:
    tap, news = desk()
    assert news.publish("crypto", [item(1)], 9) == 1
    assert [(m.topic, m.venue_ts_ns, m.recv_ts_ns) for m in tap.messages] == [
        ("md/news/sim/crypto/", 100_000_000_000, 9)
    ]


def test_items_come_once_whichever_way_and_oldest_first() -> None:
    tap, news = desk()
    assert news.publish("company", [item(3, 300), item(1, 100), item(2, 200)], 9) == 3
    assert news.publish("company", [item(2, 200), item(4, 400)], 9) == 1
    assert [body.id for body in tap.bodies("md/news/sim/company/")] == ["1", "2", "3", "4"]
    assert (news.published, news.repeats) == (4, 1)


def test_an_item_of_two_categories_is_on_both() -> None:
    tap, news = desk()
    news.publish("general", [item(1)], 9)
    news.publish("crypto", [item(1)], 9)
    assert len(tap.messages) == 2


def test_the_greatest_id_of_a_category_is_the_next_place_to_ask_from() -> None:
    _, news = desk()
    assert news.latest_id("general") == 0
    news.publish("general", [item(5), item(9), item(7), item("x")], 9)
    assert news.latest_id("general") == 9
    assert news.latest_id("crypto") == 0
