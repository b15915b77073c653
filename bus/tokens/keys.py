"""Keys of tokens: from the environment or from files, checked before anything is served with them.

A secret is read as text without its last line end. Secrets of HS* are at least as long as their
hash (RFC 7518, section 3.2: 32 bytes for HS256), and never empty, short or a PEM by mistake; a file
that others can read is refused. Keys of the other algorithms are public keys in PEM.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bus.config.access import AccessSettings
from bus.errors import ConfigError, Problem

MAX_KEY_BYTES: Final = 65_536
_SECRET_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
_PEM: Final = b"-----BEGIN"
ENVIRONMENT: Final = "env:"
KEYS: Final = "bridge.access.keys"


@dataclass(frozen=True, slots=True)
class Key:
    """One key and the algorithms it may be used with; ``material`` is what PyJWT takes."""

    id: str
    algorithms: tuple[str, ...]
    material: Any = field(repr=False)

    @property
    def is_secret(self) -> bool:
        """Whether it can sign as well as verify."""
        return isinstance(self.material, bytes)


@dataclass(frozen=True, slots=True)
class Keyring:
    """All keys in force. ``keys`` is never empty."""

    keys: Mapping[str, Key]

    def candidates(self, key_id: str | None) -> tuple[Key, ...]:
        """The key of that id; without an id every key. Empty for an unknown id."""
        if key_id is None:
            return tuple(self.keys.values())
        found = self.keys.get(key_id)
        return () if found is None else (found,)


def load_keyring(settings: AccessSettings, environ: Mapping[str, str] = os.environ) -> Keyring:
    """Read every configured key. Raises ConfigError with all that is wrong, and no key in it."""
    problems: list[Problem] = []
    keys: dict[str, Key] = {}
    if not settings.keys:
        hint = f'e.g. [{KEYS}] main = "env:MDBUS_JWT_KEY"'
        problems.append(Problem("settings", KEYS, "is empty: tokens could not be checked", hint))
    for key_id, source in settings.keys.items():
        try:
            keys[key_id] = _key(key_id, source, settings.algorithms, environ)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return Keyring(keys)


def read_secret(source: str, setting: str, environ: Mapping[str, str] = os.environ) -> bytes:
    """The text at ``source`` (a path, or ``env:NAME``), without its last line end.

    A file must belong to this user or to root, and nobody else may read or write it, unless it
    holds a PEM public key. Raises ConfigError.
    """
    if source.startswith(ENVIRONMENT):
        name = source.removeprefix(ENVIRONMENT)
        value = environ.get(name)
        if not value:
            raise ConfigError.of(setting, f"the environment has no {name or 'such variable'}")
        return value.encode("utf-8", "surrogateescape")
    path = Path(source)
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            text = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise ConfigError.of(setting, f"cannot read {path}: {error.strerror}") from None
    if len(text) > MAX_KEY_BYTES:
        raise ConfigError.of(setting, f"{path} is longer than {MAX_KEY_BYTES} bytes: no key is")
    text = text.removesuffix(b"\n").removesuffix(b"\r")
    if not text.startswith(b"-----BEGIN PUBLIC") and stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigError.of(
            setting, f"{path} can be used by others than its owner", hint=f"chmod 600 {path}"
        )
    return text


def _key(key_id: str, source: str, algorithms: Sequence[str], environ: Mapping[str, str]) -> Key:
    setting = f"{KEYS}.{key_id}"
    text = read_secret(source, setting, environ)
    if not text.lstrip().startswith(_PEM):
        return _secret_key(key_id, text, algorithms, setting)
    if b"PRIVATE" in text:
        raise ConfigError.of(
            setting, "is a private key", hint="the bridge needs the public one only"
        )
    usable = [name for name in algorithms if name not in _SECRET_BYTES]
    if not usable:
        raise ConfigError.of(
            setting,
            f"is a public key, which bridge.access.algorithms ({', '.join(algorithms)}) do not use",
        )
    # Not for secrets: with cryptography it takes longer than all the rest of `mdbus config check`.
    from jwt import PyJWTError
    from jwt.algorithms import get_default_algorithms

    known = get_default_algorithms()
    if not any(name in known for name in usable):
        raise ConfigError.of(
            setting, "public keys need one more package", hint="pip install 'mdbus[crypto]'"
        )
    for name in usable:
        if name not in known:
            continue
        try:
            material = known[name].prepare_key(text)
        except (PyJWTError, ValueError, TypeError):
            continue
        fitting = tuple(other for other in usable if other[:2] == name[:2])
        if name[:2] in ("RS", "PS"):
            fitting = tuple(other for other in usable if other[:2] in ("RS", "PS"))
            if getattr(material, "key_size", 0) < 2048:
                raise ConfigError.of(setting, "is an RSA key of less than 2048 bits")
        return Key(key_id, fitting, material)
    raise ConfigError.of(setting, f"is no key that {' or '.join(usable)} can use")


def _secret_key(key_id: str, text: bytes, algorithms: Sequence[str], setting: str) -> Key:
    usable = [name for name in algorithms if name in _SECRET_BYTES]
    if not usable:
        raise ConfigError.of(
            setting, f"is no public key in PEM, which {' and '.join(algorithms)} need"
        )
    least = min(_SECRET_BYTES[name] for name in usable)
    if len(text) < least:
        raise ConfigError.of(
            setting,
            f"has {len(text)} bytes, at least {least} are needed",
            hint="make one with: openssl rand -hex 32",
        )
    fitting = tuple(name for name in usable if len(text) >= _SECRET_BYTES[name])
    return Key(key_id, fitting, text)
