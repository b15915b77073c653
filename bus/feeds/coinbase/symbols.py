"""Which products Coinbase Exchange lists. Pure. A product id is the normal form as it is."""

from __future__ import annotations

from typing import Final

import msgspec

from bus.feeds.errors import ParseError
from bus.feeds.listing import Listed

ONLINE: Final = "online"


class _Product(msgspec.Struct):
    id: str
    status: str = ONLINE
    trading_disabled: bool | None = False


_DECODER: Final = msgspec.json.Decoder(list[_Product])


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
        one.id: Listed(one.id, one.id, one.status == ONLINE and not one.trading_disabled)
        for one in products
    }
