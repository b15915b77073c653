"""``token new|key``: tokens for clients of the bridge, and the keys that sign them."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import sys
import time
from typing import Final

from bus.config.patterns import PATTERNS, read_pattern
from bus.errors import ConfigError
from bus.supervision import exit_codes
from bus.supervision.documents import json_line
from bus.supervision.locate import settings_for
from bus.tokens import Key, Verifier, load_keyring, make_token
from bus.tokens.keys import KEYS

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DEFAULT_TTL_S: Final = 3600


def run_token(arguments: argparse.Namespace) -> int:
    """Make a token with a configured key, or a new key."""
    return _key(arguments) if arguments.what == "key" else _new(arguments)


def seconds_of(text: str) -> int:
    """``90``, ``90s``, ``15m``, ``8h``, ``30d`` in seconds. Raises ArgumentTypeError."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    if found is None or int(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 15m, 8h or 30d")
    return int(found[1]) * _UNITS[found[2] or "s"]


def patterns_of(text: str) -> list[str]:
    """Patterns of topics, separated by commas. Raises ArgumentTypeError for what is none."""
    patterns = [one for one in (part.strip() for part in text.split(",")) if one]
    for one in patterns:
        if read_pattern(one) is None:
            raise argparse.ArgumentTypeError(f"{one!r} means no topics; {PATTERNS}")
    return patterns


def _new(arguments: argparse.Namespace) -> int:
    bridge = settings_for(arguments).bridge
    access = bridge.access
    tier = arguments.tier or access.default_tier
    if tier not in bridge.tiers:
        known = ", ".join(bridge.tiers)
        raise ConfigError.of("--tier", f"there is no tier {tier!r}", hint=f"tiers are {known}")
    ttl_s = arguments.ttl
    if arguments.ticket:
        longest_s = int(access.ticket_max_age_s)
        ttl_s = longest_s if ttl_s is None else ttl_s
        if ttl_s > longest_s:
            raise ConfigError.of("--ttl", f"a ticket lives at most {longest_s} s")
    ttl_s = DEFAULT_TTL_S if ttl_s is None else ttl_s
    keyring = load_keyring(access)
    at_ns = time.time_ns()
    token = make_token(
        _signing_key(list(keyring.keys.values()), arguments.kid),
        subject=arguments.sub,
        now_s=at_ns // 1_000_000_000,
        ttl_s=ttl_s,
        tier=tier,
        topics=arguments.topics,
        audience=access.audience[0] if access.audience else None,
        issuer=access.issuer[0] if access.issuer else None,
        ticket=arguments.ticket,
    )
    claims = Verifier(access, keyring).check(token, at_ns, ticket=arguments.ticket)
    if arguments.json:
        made = {"token": token, "sub": claims.subject, "tier": claims.tier, "jti": claims.token_id}
        sys.stdout.write(json_line(made | {"expires_at_s": int(claims.expires_s)}) + "\n")
    else:
        sys.stdout.write(token + "\n")
    return exit_codes.OK


def _signing_key(keys: list[Key], key_id: str | None) -> Key:
    """The key to sign with: the one named, else the last secret one in the settings."""
    usable = [key for key in keys if key.is_secret]
    if key_id is not None:
        named = [key for key in usable if key.id == key_id]
        if not named:
            known = ", ".join(key.id for key in usable) or "none"
            why = f"there is no key {key_id!r} that can sign"
            raise ConfigError.of("--kid", why, hint=f"keys that can: {known}")
        return named[0]
    if not usable:
        raise ConfigError.of(KEYS, "public keys only: they check tokens, and cannot sign them")
    return usable[-1]


def _key(arguments: argparse.Namespace) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        fd = os.open(arguments.file, flags, 0o600)
    except FileExistsError:
        sys.stderr.write(f"mdbus: {arguments.file} exists already; a key is not replaced\n")
        return exit_codes.FAILED
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32) + "\n")
    sys.stdout.write(f"wrote {arguments.file}\n")
    return exit_codes.OK
