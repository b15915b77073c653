"""JSON Web Tokens: keys, what a token says, how it is checked and made. Pure, but for key files.

The bridge checks tokens, ``mdbus token`` makes them; this is what both need. A token never appears
in an error, and no error says more about one than which rule it breaks.
"""

from bus.tokens.claims import Claims, TokenRefused
from bus.tokens.keys import Key, Keyring, load_keyring, read_secret
from bus.tokens.maker import make_token
from bus.tokens.verifier import Verifier

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
