"""Keys of tokens are looked at before anything starts, where there are tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.config import load
from bus.errors import ConfigError
from bus.supervision.token_keys import check_keys


def test_without_tokens_no_key_is_looked_at() -> None:
    check_keys(load(None, ['bridge.access.keys.k="/nowhere"']))


def test_a_key_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    key = tmp_path / "jwt.key"
    settings = load(None, ["bridge.auth=jwt", f'bridge.access.keys.k="{key}"'])
    with pytest.raises(ConfigError, match=r"bridge\.access\.keys"):
        check_keys(settings)
    key.write_text("k" * 32)
    key.chmod(0o600)
    check_keys(settings)
