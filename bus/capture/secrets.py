"""What must not get into a capture: keys and tokens, wherever a venue wants them said.

By name, not by value: a parameter or JSON key that is called like a secret loses its value. Keys in
HTTP headers and in WebSocket URLs need nothing here: a capture keeps neither.

Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

HIDDEN: Final = "***"
NAMES: Final = frozenset(
    {
        "accesstoken",
        "apikey",
        "apisign",
        "apitoken",
        "authorization",
        "jwt",
        "key",
        "listenkey",
        "passphrase",
        "password",
        "secret",
        "sign",
        "signature",
        "token",
        "xfinnhubtoken",
    }
)
"""Letters only, lower case: ``API-Key`` and ``api_key`` are both ``apikey``."""

_SUSPECT: Final = re.compile(
    r"token|key|secret|sign|jwt|passphrase|password|authorization", re.IGNORECASE
)
_PLAIN: Final = re.compile(
    r"((?:token|api[_-]?key|secret|signature|jwt|passphrase|password)\W{1,5})[\w.\-+/=~]+",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Whether a parameter or key of this name holds a secret."""
    return re.sub(r"[^a-z]", "", name.lower()) in NAMES


def safe_query(query: Mapping[str, str | int]) -> dict[str, str]:
    """Query parameters as texts, secrets hidden."""
    return {name: HIDDEN if is_secret(name) else str(value) for name, value in query.items()}


def safe_url(url: str) -> str:
    """A URL without query, fragment, user and password."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def safe_message(message: str) -> str:
    """A control message with secrets hidden; unchanged, to the byte, when it holds none."""
    if not _SUSPECT.search(message):
        return message
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        return _PLAIN.sub(rf"\1{HIDDEN}", message)
    cleaned, changed = _cleaned(value)
    return json.dumps(cleaned, separators=(",", ":")) if changed else message


def _cleaned(value: Any) -> tuple[Any, bool]:
    if isinstance(value, dict):
        changed = False
        found: dict[str, Any] = {}
        for name, inner in value.items():
            if is_secret(name) and inner is not None:
                found[name], changed = HIDDEN, True
            else:
                found[name], inner_changed = _cleaned(inner)
                changed |= inner_changed
        return found, changed
    if isinstance(value, list):
        items = [_cleaned(item) for item in value]
        return [item for item, _ in items], any(changed for _, changed in items)
    return value, False
