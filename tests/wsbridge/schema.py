"""Hold messages of the bridge against its own JSON Schema, strictly: no field it does not know."""

from __future__ import annotations

from typing import Any


def check_message(message: dict[str, Any]) -> None:
    """Fails unless ``message`` is one of the schema's server messages."""
