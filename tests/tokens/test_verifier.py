"""Tokens made by hand, by the library and by chance: which hold, and why the others do not."""

from __future__ import annotations

import json
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from bus.config import load
from bus.config.access import AccessSettings
from bus.tokens import Key, Keyring, TokenRefused, Verifier, load_keyring
from bus.tokens.claims import Claims
from tests.wsbridge.access.tokens import SECRET, encoded, jwt_of

NOW_S = 1_800_000_000
NOW_NS = NOW_S * 1_000_000_000


def access(*overrides: str) -> AccessSettings:
    return load(None, [f"bridge.access.{one}" for one in overrides]).bridge.access


KEYRING = Keyring({"main": Key("main", ("HS256",), SECRET.encode())})


def check(token: str, *overrides: str, ticket: bool = False, now_ns: int = NOW_NS) -> Claims:
    return Verifier(access(*overrides), KEYRING).check(token, now_ns, ticket=ticket)


def why_not(token: str, *overrides: str, ticket: bool = False, now_ns: int = NOW_NS) -> str:
    with pytest.raises(TokenRefused) as refused:
        check(token, *overrides, ticket=ticket, now_ns=now_ns)
    if token:
        assert token not in str(refused.value)
    return refused.value.why


def good(**claims: Any) -> str:
    made = {"sub": "u", "exp": NOW_S + 60} | claims
    return jwt_of({name: value for name, value in made.items() if value is not None})


def test_what_a_token_says() -> None:
    claims = check(good(tier="pro", topics=["price.*"], limits={"subscriptions": 3}, jti="j"))
    assert claims == Claims("u", NOW_S + 60, "pro", ("price.*",), {"subscriptions": 3}, "j")
    assert check(good(sub=None, user_id=42)).subject == "42"


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": None}, "claims"),
        ({"exp": "soon"}, "claims"),
        ({"exp": NOW_S * 1000}, "claims"),
        ({"exp": 1e308}, "claims"),
        ({"exp": NOW_S - 30}, "expired"),
        ({"exp": NOW_S - 10_000_000}, "expired"),
        ({"nbf": NOW_S + 31}, "not_yet"),
        ({"iat": NOW_S + 31}, "not_yet"),
        ({"iat": "now"}, "claims"),
        ({"sub": None}, "claims"),
        ({"sub": ""}, "claims"),
        ({"sub": "a\nb"}, "claims"),
        ({"sub": "a" * 129}, "claims"),
        ({"sub": ["a"]}, "claims"),
        ({"use": "ticket"}, "use"),
        ({"use": "refresh"}, "use"),
        ({"topics": "price.*"}, "claims"),
        ({"topics": ["p.x"] * 257}, "claims"),
        ({"limits": {"subscriptions": "all"}}, "claims"),
    ],
)
def test_claims_that_do_not_hold(claims: dict[str, Any], why: str) -> None:
    assert why_not(good(**claims)) == why


def test_clocks_may_differ_by_the_leeway() -> None:
    for claims in ({"exp": NOW_S - 29}, {"nbf": NOW_S + 30}, {"iat": NOW_S + 30}):
        assert check(good(**claims)).subject == "u"
    assert why_not(good(exp=NOW_S), "leeway_s=0") == "expired"


def test_audience_and_issuer_count_when_they_are_configured() -> None:
    assert check(good(aud="x", iss="y")).subject == "u"
    rules = ('audience=["mdbus"]', 'issuer=["desk"]')
    assert check(good(aud="mdbus", iss="desk"), *rules).subject == "u"
    assert check(good(aud=["other", "mdbus"], iss="desk"), *rules).subject == "u"
    assert why_not(good(iss="desk"), *rules) == "audience"
    assert why_not(good(aud="mdbus.evil", iss="desk"), *rules) == "audience"
    assert why_not(good(aud="mdbus"), *rules) == "issuer"
    assert why_not(good(aud="mdbus", iss="Desk"), *rules) == "issuer"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "HS384", "RS256", "", "HS256 "])
def test_the_token_does_not_choose_the_algorithm(alg: str) -> None:
    signed = jwt_of({"sub": "u", "exp": NOW_S + 60}, header={"alg": alg})
    assert why_not(signed) == "algorithm"
    assert why_not(signed.rpartition(".")[0] + ".") == "algorithm"


def test_a_signature_of_another_key_or_of_other_claims_does_not_hold() -> None:
    claims = {"sub": "u", "exp": NOW_S + 60}
    assert why_not(jwt_of(claims, secret="x" * 32)) == "signature"
    head, body, signature = good().split(".")
    forged = encoded(json.dumps(claims | {"tier": "enterprise"}).encode())
    assert why_not(f"{head}.{forged}.{signature}") == "signature"
    assert why_not(f"{head}.{body}.") == "signature"
    assert why_not(f"{head}.{body}.{encoded(b'0' * 32)}") == "signature"


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é.b.c", good() + ".x", "x" * 4_096])
def test_what_is_no_token_is_malformed(token: str) -> None:
    assert why_not(token) in ("malformed", "signature")


def test_a_token_is_not_longer_than_it_may_be() -> None:
    assert why_not("x" * 4_097) == "too_long"


def test_extensions_that_must_be_understood_are_not() -> None:
    header = {"alg": "HS256", "crit": ["exp"]}
    assert why_not(jwt_of({"sub": "u", "exp": NOW_S + 60}, header=header)) == "malformed"


def test_the_key_id_chooses_the_key_and_keys_can_be_rotated() -> None:
    ring = Keyring({name: Key(name, ("HS256",), name.encode() * 16) for name in ("k1", "k2")})
    verifier = Verifier(access(), ring)
    claims = {"sub": "u", "exp": NOW_S + 60}
    for key_id in ("k1", "k2"):
        header = {"alg": "HS256", "kid": key_id}
        assert verifier.check(jwt_of(claims, secret=key_id * 16, header=header), NOW_NS)
        assert verifier.check(jwt_of(claims, secret=key_id * 16), NOW_NS), "without kid: every key"
    for header, why in (({"kid": "k3"}, "key_id"), ({"kid": "k2"}, "signature")):
        token = jwt_of(claims, secret="k1" * 16, header={"alg": "HS256", **header})
        with pytest.raises(TokenRefused) as refused:
            verifier.check(token, NOW_NS)
        assert refused.value.why == why


def test_a_ticket_is_short_lived_and_has_a_name() -> None:
    fields: dict[str, Any] = {"use": "ticket", "iat": NOW_S, "jti": "t-1"}
    assert check(good(**fields), ticket=True).is_ticket
    assert why_not(good(), ticket=True) == "use"
    assert why_not(good(**fields | {"jti": None}), ticket=True) == "claims"
    assert why_not(good(**fields | {"jti": "t" * 129}), ticket=True) == "claims"
    assert why_not(good(**fields | {"iat": None}), ticket=True) == "claims"
    assert why_not(good(**fields | {"exp": NOW_S + 61}), ticket=True) == "claims"


def test_public_keys_check_what_their_private_ones_sign(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("keys")
    private: dict[str, Any] = {
        "RS256": rsa.generate_private_key(65537, 2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    overrides = ['algorithms=["RS256", "ES256", "EdDSA", "HS256"]']
    pems: dict[str, bytes] = {}
    for name, key in private.items():
        pems[name] = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (folder / name).write_bytes(pems[name])
        overrides.append(f"keys.{name}={folder / name}")
    settings = access(*overrides)
    ring = load_keyring(settings, {})
    assert not any(key.is_secret for key in ring.keys.values())
    verifier = Verifier(settings, ring)
    claims = {"sub": "u", "exp": NOW_S + 60}
    for name, key in private.items():
        token = pyjwt.encode(claims, key, algorithm=name, headers={"kid": name})
        assert verifier.check(token, NOW_NS).subject == "u"
        # The oldest trick: sign with the public key as if it were a secret.
        for header in ({"alg": "HS256", "kid": name}, {"alg": "HS256"}):
            forged = jwt_of(claims, secret=pems[name].decode(), header=header)
            with pytest.raises(TokenRefused) as refused:
                verifier.check(forged, NOW_NS)
            assert refused.value.why == "algorithm"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
CLAIMS = st.dictionaries(
    st.sampled_from(
        ["sub", "exp", "nbf", "iat", "aud", "iss", "tier", "topics", "limits", "jti", "use"]
    ),
    JSON,
)


@given(CLAIMS)
def test_any_signed_claims_hold_or_are_refused(claims: dict[str, Any]) -> None:
    try:
        found = check(jwt_of(claims))
    except TokenRefused:
        return
    assert found.subject
    assert found.expires_s + 30 > NOW_S


@given(st.text(max_size=60) | st.binary(max_size=60).map(encoded).map("{0}.{0}.{0}".format))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(TokenRefused):
        check(text)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "crit", "typ", "jku", "jwk"]), JSON))
def test_no_header_opens_without_the_right_signature(header: dict[str, Any]) -> None:
    token = jwt_of({"sub": "u", "exp": NOW_S + 60}, secret="wrong" * 8, header=header)
    with pytest.raises(TokenRefused):
        check(token)
