"""Whether the keys of tokens can be used, before a bridge starts that would refuse to."""

from __future__ import annotations

from bus.config import Settings


def check_keys(settings: Settings) -> None:
    """Raise `ConfigError` for keys that every bridge would refuse to start with."""
    if settings.bridge.auth == "jwt":
        from bus.tokens import load_keyring  # with cryptography: only who has tokens waits

        load_keyring(settings.bridge.access)
