"""The gate: rules, deny list and used tickets together; a failure lets nobody in."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.config import load
from bus.errors import ConfigError
from bus.tokens import TokenRefused
from bus.wsbridge.access.gate import Gate
from bus.wsbridge.limits.ledger import LedgerError
from tests.wsbridge.access.test_grant import base
from tests.wsbridge.access.tokens import SECRET, ticket, token

from bus.clock import now_ns  # isort: skip


class Used:
    """A ledger of one process."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.is_broken = False

    def use_ticket(self, ticket: str, until_s: float, now_ns: int) -> bool:
        if self.is_broken:
            raise LedgerError("disk I/O error")
        is_first = ticket not in self.used
        self.used.add(ticket)
        return is_first


def gate_of(used: Used, *overrides: str, environ: dict[str, str] | None = None) -> Gate:
    settings = load(None, ["bridge.auth=jwt", "bridge.access.keys.main=env:K", *overrides])
    return Gate(settings.bridge, base(), used, {"K": SECRET} if environ is None else environ)


def why_not(gate: Gate, shown: str, **options: object) -> str:
    with pytest.raises(TokenRefused) as refused:
        gate.admit(shown, "header", now_ns(), **options)  # type: ignore[arg-type]
    return refused.value.why


def test_what_is_let_in_and_what_is_not_is_counted() -> None:
    gate = gate_of(Used())
    assert gate.admit(token("u"), "header", now_ns()).user == "u"
    assert why_not(gate, "nonsense") == "malformed"
    assert why_not(gate, token("u", tier="emperor")) == "claims"
    assert dict(gate.admitted) == {"header": 1}
    assert dict(gate.refusals) == {"malformed": 1, "claims": 1}


def test_a_connection_stays_with_its_user() -> None:
    gate = gate_of(Used())
    assert gate.admit(token("u"), "message", now_ns(), user="u").user == "u"
    assert why_not(gate, token("v"), user="u") == "claims"


def test_a_ticket_that_cannot_be_checked_is_refused() -> None:
    used = Used()
    gate = gate_of(used)
    shown = ticket("u")
    assert gate.admit(shown, "ticket", now_ns(), ticket=True).user == "u"
    assert why_not(gate, shown, ticket=True) == "ticket_used"
    used.is_broken = True
    assert why_not(gate, ticket("u", jti="other"), ticket=True) == "unavailable"


def test_a_refused_ticket_is_not_used_up(tmp_path: Path) -> None:
    used = Used()
    denied = tmp_path / "denied"
    denied.write_text("sub:u\n")
    gate = gate_of(used, f"bridge.access.deny_list={denied}")
    assert why_not(gate, ticket("u"), ticket=True) == "denied"
    assert not used.used


def test_without_key_or_deny_list_there_is_no_gate() -> None:
    with pytest.raises(ConfigError, match="has no K"):
        gate_of(Used(), environ={})
    with pytest.raises(ConfigError, match="deny_list"):
        gate_of(Used(), "bridge.access.deny_list=/nowhere/denied")


def test_keys_can_be_read_again_and_bad_ones_change_nothing() -> None:
    environ = {"K": SECRET}
    gate = gate_of(Used(), environ=environ)
    environ["K"] = "short"
    gate.reload()
    assert gate.admit(token("u"), "header", now_ns()).user == "u"
    environ["K"] = "another secret, and one of 32 bytes"
    gate.reload()
    assert why_not(gate, token("u")) == "signature"
