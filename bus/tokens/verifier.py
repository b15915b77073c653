"""Is this token good, now? PyJWT checks the signature; times and claims are checked here.

The algorithm is never the token's choice: a key is used with its own algorithms only, and a token
that names another one, or ``none``, is refused before a key is looked at. Time comes in as
``now_ns`` (wall clock).
"""

from __future__ import annotations

from typing import Final

import jwt
import msgspec
from msgspec import UNSET, UnsetType

from bus.config.access import AccessSettings
from bus.tokens.claims import MAX_TOKEN_BYTES, Claims, TokenRefused
from bus.tokens.keys import Keyring

MAX_SUBJECT_CHARS: Final = 128
MAX_TOKEN_ID_CHARS: Final = 128
MAX_PATTERNS: Final = 256
MAX_TIME_S: Final = 1e11
"""Later than the year 5000: milliseconds, or nonsense."""
_NS: Final = 1_000_000_000


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    crit: list[str] | UnsetType = UNSET


class _Claims(msgspec.Struct):
    exp: float
    sub: str | int | UnsetType = UNSET
    user_id: str | int | UnsetType = UNSET
    nbf: float = 0.0
    iat: float | UnsetType = UNSET
    aud: str | list[str] = []
    iss: str | UnsetType = UNSET
    tier: str | None = None
    topics: list[str] | None = None
    limits: dict[str, int] = {}
    jti: str | None = None
    use: str = "access"


_header_decoder = msgspec.json.Decoder(_Header)


class Verifier:
    """Checks tokens against one set of keys and rules."""

    def __init__(self, settings: AccessSettings, keyring: Keyring) -> None:
        self._settings = settings
        self._keyring = keyring
        self._jws = jwt.PyJWS()
        # A secret given as bytes is looked at for being something else at each check: 110 µs.
        self._prepared = {
            (key.id, name): jwt.PyJWK(
                {"kty": "oct", "alg": name, "k": jwt.utils.base64url_encode(key.material).decode()}
            )
            for key in keyring.keys.values()
            if key.is_secret
            for name in key.algorithms
        }

    def check(self, token: str, now_ns: int, *, ticket: bool = False) -> Claims:
        """What the token says. Raises TokenRefused.

        ``ticket`` says how it came: a ticket (``"use": "ticket"``) is good as one only, and no
        other token is. Whether its ``jti`` was used before is not known here.
        """
        payload = self._payload(token)
        try:
            claims = msgspec.json.decode(payload, type=_Claims)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise TokenRefused("claims", "the token lacks exp, or a claim is ill-typed") from None
        self._check_times(claims, now_ns / _NS)
        self._check_origin(claims)
        if claims.use != ("ticket" if ticket else "access"):
            how = "is no ticket" if ticket else "may not be used like this"
            raise TokenRefused("use", f"the token {how}")
        if ticket:
            self._check_ticket(claims)
        subject = claims.user_id if isinstance(claims.sub, UnsetType) else claims.sub
        return Claims(
            subject=_subject(subject),
            expires_s=claims.exp,
            tier=claims.tier,
            topics=_patterns(claims.topics),
            limits=claims.limits,
            token_id=claims.jti,
            is_ticket=ticket,
        )

    def _payload(self, token: str) -> bytes:
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenRefused("too_long", f"a token has at most {MAX_TOKEN_BYTES} bytes")
        try:
            encoded = token.encode("ascii").split(b".")[0]
            header = _header_decoder.decode(jwt.utils.base64url_decode(encoded))
        except (ValueError, msgspec.MsgspecError, RecursionError):
            raise TokenRefused("malformed", "this is no JSON Web Token") from None
        if header.crit is not UNSET:
            raise TokenRefused("malformed", "the token asks for extensions (crit)")
        if header.alg not in self._settings.algorithms:
            raise TokenRefused("algorithm", "the token is signed in a way that is not accepted")
        keys = self._keyring.candidates(header.kid)
        if not keys:
            raise TokenRefused("key_id", "the token names a key that is not in force")
        keys = tuple(key for key in keys if header.alg in key.algorithms)
        if not keys:
            raise TokenRefused("algorithm", "the token's key is not for its algorithm")
        for key in keys:
            try:
                material = self._prepared.get((key.id, header.alg), key.material)
                found = self._jws.decode_complete(token, material, algorithms=[header.alg])
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, TypeError):
                raise TokenRefused("malformed", "this is no JSON Web Token") from None
            payload: bytes = found["payload"]
            return payload
        raise TokenRefused("signature", "the token's signature does not hold")

    def _check_times(self, claims: _Claims, now_s: float) -> None:
        leeway_s = self._settings.leeway_s
        if not abs(claims.exp) < MAX_TIME_S:
            raise TokenRefused("claims", "the token's exp is no time in seconds")
        if claims.exp + leeway_s <= now_s:
            raise TokenRefused("expired", "the token has expired")
        issued_s = claims.nbf if isinstance(claims.iat, UnsetType) else claims.iat
        if max(issued_s, claims.nbf) > now_s + leeway_s:
            raise TokenRefused("not_yet", "the token is not valid yet")

    def _check_origin(self, claims: _Claims) -> None:
        settings = self._settings
        audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if settings.audience and not set(audience) & set(settings.audience):
            raise TokenRefused("audience", "the token is meant for somebody else (aud)")
        if settings.issuer and claims.iss not in settings.issuer:
            raise TokenRefused("issuer", "the token is from somebody else (iss)")

    def _check_ticket(self, claims: _Claims) -> None:
        longest_s = self._settings.ticket_max_age_s
        if isinstance(claims.iat, UnsetType) or not claims.exp - claims.iat <= longest_s:
            raise TokenRefused("claims", f"a ticket lives at most {longest_s:g} s from its iat")
        if not claims.jti or len(claims.jti) > MAX_TOKEN_ID_CHARS:
            raise TokenRefused("claims", "a ticket needs a jti")


def _subject(found: str | int | UnsetType) -> str:
    subject = "" if isinstance(found, UnsetType) else str(found)
    if not subject or len(subject) > MAX_SUBJECT_CHARS or not subject.isprintable():
        raise TokenRefused("claims", "the token lacks sub")
    return subject


def _patterns(found: list[str] | None) -> tuple[str, ...] | None:
    if found is None:
        return None
    if len(found) > MAX_PATTERNS:
        raise TokenRefused("claims", f"a token lists at most {MAX_PATTERNS} topics")
    return tuple(found)
