"""Keys: read from where the settings say, refused with a clear line and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bus.config import load
from bus.errors import ConfigError
from bus.tokens import Keyring, load_keyring
from tests.wsbridge.access.tokens import SECRET


def ring(environ: dict[str, str], *overrides: str) -> Keyring:
    settings = load(None, [f"bridge.access.{one}" for one in overrides])
    return load_keyring(settings.bridge.access, environ)


def file_with(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def test_keys_come_from_the_environment_and_from_files(tmp_path: Path) -> None:
    path = file_with(tmp_path / "key", SECRET + "\n")
    found = ring({"A": "e" * 32}, "keys.one=env:A", f"keys.two={path}")
    assert [key.material for key in found.candidates("one")] == [b"e" * 32]
    assert [key.material for key in found.candidates("two")] == [SECRET.encode()], "no line end"
    assert len(found.candidates(None)) == 2
    assert found.candidates("three") == ()
    assert SECRET not in repr(found)


def test_a_key_is_as_long_as_its_algorithm_needs() -> None:
    assert ring({"A": "x" * 32}, "keys.a=env:A").keys["a"].algorithms == ("HS256",)
    both = 'algorithms=["HS256", "HS512"]'
    assert ring({"A": "x" * 32}, "keys.a=env:A", both).keys["a"].algorithms == ("HS256",)
    assert ring({"A": "x" * 64}, "keys.a=env:A", both).keys["a"].algorithms == ("HS256", "HS512")
    with pytest.raises(ConfigError, match="63 bytes, at least 64"):
        ring({"A": "x" * 63}, "keys.a=env:A", 'algorithms=["HS512"]')


def test_what_is_wrong_with_keys_is_told_all_at_once(tmp_path: Path) -> None:
    public = file_with(tmp_path / "seen", SECRET, 0o644)
    with pytest.raises(ConfigError) as refused:
        ring(
            {"SHORT": "s3cret-of-31-bytes-is-too-short"},
            "keys.short=env:SHORT",
            "keys.gone=env:GONE",
            f"keys.nowhere={tmp_path / 'nowhere'}",
            f"keys.folder={tmp_path}",
            f"keys.seen={public}",
        )
    text = str(refused.value)
    assert len(refused.value.problems) == 5
    for part in ("31 bytes, at least 32", "no GONE", "No such file", "directory", "chmod 600"):
        assert part in text
    assert "s3cret" not in text
    assert SECRET not in text


def test_no_key_at_all_is_no_reason_to_start() -> None:
    with pytest.raises(ConfigError, match=r"bridge\.access\.keys.*empty"):
        ring({})


def test_pem_keys_are_public_and_strong(tmp_path: Path) -> None:
    private = rsa.generate_private_key(65537, 1024)
    weak = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    rs256 = 'algorithms=["RS256"]'
    for text, named in (
        (weak, "less than 2048 bits"),
        (secret, "private key"),
        (b"-----BEGIN PUBLIC KEY-----\nnonsense", "no key that RS256 can use"),
        (SECRET.encode(), "no public key in PEM"),
    ):
        path = file_with(tmp_path / "key", text)
        with pytest.raises(ConfigError, match=named):
            ring({}, f"keys.a={path}", rs256)
    path = file_with(tmp_path / "key", weak)
    with pytest.raises(ConfigError, match="do not use"):
        ring({}, f"keys.a={path}")
