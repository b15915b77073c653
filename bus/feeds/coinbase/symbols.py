"""Which products Coinbase Exchange lists. Pure. A product id is the normal form as it is."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from bus.feeds.errors import ParseError
from bus.feeds.listing import Listed
from bus.model import Instrument

ONLINE: Final = "online"
Increment = Annotated[float, msgspec.Meta(ge=0, le=1e18)]


class _Product(msgspec.Struct):
    id: str
    base_currency: str | None = None
    quote_currency: str | None = None
    quote_increment: Increment | None = None
    base_increment: Increment | None = None
    min_market_funds: Increment | None = None
    status: str = ONLINE
    trading_disabled: bool | None = False

    @property
    def trading(self) -> bool:
        return self.status == ONLINE and not self.trading_disabled

    def described(self) -> Instrument:
        return Instrument(
            base=self.base_currency,
            quote=self.quote_currency,
            kind="spot",
            status="trading"
            if self.trading
            else "halted"
            if self.status == ONLINE
            else self.status,
            venue_symbol=self.id,
            tick_size=self.quote_increment,
            lot_size=self.base_increment,
            min_notional=self.min_market_funds,
        )


_DECODER: Final = msgspec.json.Decoder(list[_Product], strict=False)


def guess(symbol: str) -> Listed:
    """The instrument of a normal symbol, as long as the venue has not been asked."""
    return Listed(symbol, symbol)


def parse_products(body: bytes) -> dict[str, Listed]:
    """The answer of ``GET /products``, by symbol. Raises ParseError."""
    try:
        products = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParseError("products", str(error), body) from None
    return {
        one.id: Listed(one.id, one.id, one.trading, described=one.described()) for one in products
    }
