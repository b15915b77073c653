"""JSON Web Tokens: keys, what a token says, how it is checked and made. Pure, but for key files.

The bridge checks tokens, ``mdbus token`` makes them; this is what both need. A token never appears
in an error, and no error says more about one than which rule it breaks.

Everything is loaded at its first use: a bridge without tokens needs to know what a refusal is, and
would otherwise begin with a tenth of a second of cryptography.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from bus.tokens.claims import Claims, TokenRefused

if TYPE_CHECKING:
    from bus.tokens.keys import Key, Keyring, load_keyring, read_secret
    from bus.tokens.maker import make_token
    from bus.tokens.verifier import Verifier

_HOMES: Final = {
    "Key": "keys",
    "Keyring": "keys",
    "Verifier": "verifier",
    "load_keyring": "keys",
    "make_token": "maker",
    "read_secret": "keys",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


__all__ = [
    "Claims",
    "Key",
    "Keyring",
    "TokenRefused",
    "Verifier",
    "load_keyring",
    "make_token",
    "read_secret",
]
