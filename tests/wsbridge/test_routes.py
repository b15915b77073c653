"""URLs and query options of the bridge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.routes import Endpoint, EndpointKind, endpoint_of, options_of

MULTI = Endpoint(EndpointKind.MULTI)


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/ws/market/BTC/price", Endpoint(EndpointKind.MARKET, "price", "BTC")),
        ("/ws/market/EUR%2FUSD/Trades", Endpoint(EndpointKind.MARKET, "Trades", "EUR/USD")),
        ("/ws/news/crypto", Endpoint(EndpointKind.NEWS, "news", "crypto")),
        ("/ws/market-multi", MULTI),
        ("/ws/v1", MULTI),
        ("/ws/replay", Endpoint(EndpointKind.REPLAY)),
    ],
)
def test_every_url_works_with_and_without_a_trailing_slash(
    path: str, expected: Endpoint, slash: str
) -> None:
    assert endpoint_of(path + slash) == expected


@pytest.mark.parametrize(
    "path",
    ["/", "", "/ws", "/ws/", "/ws/market", "/ws/market/BTC", "/ws/market//price", "/wsx/v1",
     "/ws/market/BTC/price/x", "/ws//v1", "/ws/v1//", "/ws/V1", "ws/v1", "/ws/news", "/ws/v2/"],
)  # fmt: skip
def test_other_paths_are_no_endpoint(path: str) -> None:
    assert endpoint_of(path) is None


@given(st.text(max_size=60))
def test_any_path_gives_an_endpoint_or_none(path: str) -> None:
    found = endpoint_of(path)
    assert found is None or found.kind in EndpointKind


def test_the_options_of_the_compat_profile_are_read() -> None:
    options = options_of("streams=price.BTC,trades.ETH&snapshot=0&depth=5", MULTI, 20)
    assert options.streams == ("price.BTC", "trades.ETH")
    assert options.snapshot is False
    assert options.depth == 5
    assert options.problems == ()


def test_repeated_streams_add_up() -> None:
    options = options_of("streams=price.BTC&streams=trades.ETH,&utm=1&utm=2", MULTI, 20)
    assert options.streams == ("price.BTC", "trades.ETH")
    assert options.problems == ()


def test_values_that_ask_for_nothing_new_are_accepted() -> None:
    query = "codec=json&book=full&numbers=float&conflate_ms=0&batch_ms=0&events=&utm=x&token=y"
    assert options_of(query, MULTI, 20).problems == ()


def test_the_options_of_capabilities_are_read() -> None:
    query = "codec=msgpack&book=delta&numbers=string&conflate_ms=250&batch_ms=20&heartbeat_ms=5000"
    options = options_of(query + "&events=all", MULTI, 20)
    assert options.problems == ()
    assert (options.codec, options.book, options.numbers) == ("msgpack", "delta", "string")
    assert (options.conflate_ms, options.batch_ms, options.heartbeat_ms) == (250, 20, 5000)
    assert options.events is True


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("snapshot=yes", "bad_request", "snapshot"),
        ("depth=0", "bad_request", "depth"),
        ("depth=-1", "bad_request", "depth"),
        ("depth=²", "bad_request", "depth"),
        ("depth=21", "limit_depth", "depth"),
        ("streams=", "bad_request", "streams"),
        ("conflate_ms=fast", "bad_request", "conflate_ms"),
        ("batch_ms=251", "bad_request", "batch_ms"),
        ("heartbeat_ms=999", "bad_request", "heartbeat_ms"),
        ("book=half", "bad_request", "book"),
        ("events=some", "bad_request", "events"),
        ("numbers=roman", "bad_request", "numbers"),
        ("codec=xml", "bad_request", "codec"),
        ("depth=5&depth=6", "bad_request", "depth"),
        ("snapshot=0&snapshot=0", "bad_request", "snapshot"),
        ("&".join(f"a{i}=1" for i in range(100)), "bad_request", "query"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_named(query: str, code: str, field: str) -> None:
    (problem,) = options_of(query, MULTI, 20).problems
    assert (problem.code, problem.field) == (code, field)
    assert problem.close is (query == "codec=xml")


def test_streams_is_refused_where_the_url_names_the_topic() -> None:
    fixed = Endpoint(EndpointKind.MARKET, "price", "BTC")
    (problem,) = options_of("streams=price.ETH", fixed, 20).problems
    assert (problem.code, problem.field) == ("bad_request", "streams")


@given(st.text(max_size=200))
def test_any_query_is_read_without_raising(query: str) -> None:
    options_of(query, MULTI, 20)
