"""The deny list: read again when it changes; while it cannot be read nobody is let in."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.tokens import Claims, TokenRefused
from bus.wsbridge.access.deny_list import DenyList


def claims(user: str = "u", token_id: str | None = "j") -> Claims:
    return Claims(user, 0.0, token_id=token_id)


def why_not(deny_list: DenyList, shown: Claims) -> str:
    with pytest.raises(TokenRefused) as refused:
        deny_list.check(shown)
    return refused.value.why


def test_without_a_list_nobody_is_denied() -> None:
    none = DenyList("")
    none.look()
    none.check(claims())
    assert none.count == 0


def test_tokens_and_users_are_denied_from_the_moment_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "denied"
    path.write_text("# revoked on Monday\n\n  j-1  # a laptop\nsub: eve\n")
    found = DenyList(str(path))
    assert found.count == 2
    assert why_not(found, claims(token_id="j-1")) == "denied"
    assert why_not(found, claims("eve", None)) == "denied"
    found.check(claims("u", "j-2"))
    found.check(claims("u", None))
    before = found.version
    found.look()
    assert found.version == before
    path.write_text("j-2\n")
    found.look()
    assert found.version > before
    found.check(claims("eve", "j-1"))
    assert why_not(found, claims(token_id="j-2")) == "denied"


@pytest.mark.parametrize("damage", ["gone", "unreadable", "not_text", "folder"])
def test_a_list_that_cannot_be_read_lets_nobody_in(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "denied"
    path.write_text("j-1\n")
    found = DenyList(str(path))
    if damage == "gone":
        path.unlink()
    elif damage == "not_text":
        path.write_bytes(b"\xff\xfe\x00")
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.unlink()
        path.symlink_to(tmp_path / "nowhere")
    found.look()
    assert found.problem
    assert why_not(found, claims("innocent", "j-9")) == "unavailable"
    assert found.denies("u", "j-1"), "what was denied stays so"
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_text("j-1\n")
    found.look()
    assert not found.problem
    found.check(claims("innocent", "j-9"))
