"""What happens in a simulated market, as values. Prices and sizes are ``_e8`` integers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trade:
    """One fill of one resting order. ``buyer_is_maker`` true: a seller was the aggressor."""

    trade_id: int
    price_e8: int
    size_e8: int
    time_ns: int
    buyer_is_maker: bool


@dataclass(frozen=True, slots=True)
class AggregateTrade:
    """The fills of one aggressive order at one price, ``first_id`` to ``last_id``."""

    aggregate_id: int
    price_e8: int
    size_e8: int
    first_id: int
    last_id: int
    time_ns: int
    buyer_is_maker: bool


@dataclass(frozen=True, slots=True)
class Quote:
    """The best bid and ask after update ``update_id``; published when any of the four changed."""

    update_id: int
    bid_e8: int
    bid_size_e8: int
    ask_e8: int
    ask_size_e8: int


MarketEvent = Trade | AggregateTrade | Quote
