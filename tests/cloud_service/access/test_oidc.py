"""Which tokens are good, and what their holders may do."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from cloud_service.access.oidc import TokenVerifier
from cloud_service.access.oidc_keys import IssuerKeys
from cloud_service.access.scopes import Scope
from cloud_service.access.token_rules import TokenRules
from cloud_service.errors import UnauthenticatedError
from tests.cloud_service.access.issuer import AUDIENCE, Issuer, public, rsa_key


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest_asyncio.fixture
async def keys(issuer: Issuer) -> AsyncIterator[IssuerKeys]:
    keys = IssuerKeys.open(issuer.url)
    yield keys
    await keys.aclose()


@pytest.fixture
def tokens(issuer: Issuer, keys: IssuerKeys) -> TokenVerifier:
    return TokenVerifier(TokenRules(issuer.url, AUDIENCE), keys)


def _part(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def _refused(tokens: TokenVerifier, token: str) -> str:
    with pytest.raises(UnauthenticatedError) as caught:
        await tokens.identify(token)
    assert caught.value.code == "invalid_token"
    assert 'error="invalid_token"' in caught.value.headers["www-authenticate"]
    return str(caught.value)


async def test_token_tells_who_calls_and_what_they_may_do(issuer: Issuer, tokens: TokenVerifier) -> None:
    caller = await tokens.identify(issuer.token("read generate openid", aud=["other", AUDIENCE], nbf=0))
    assert (caller.key_id, caller.key_name, caller.tenant, caller.device) == ("oidc:ada", "ada", "", "")
    assert caller.scopes == {Scope.READ, Scope.GENERATE}
    assert caller.expires_at is not None
    assert 0 < caller.expires_at - time.time() - 300 <= 30


@pytest.mark.parametrize("algorithm", ["RS512", "PS256", "ES384", "EdDSA"])
async def test_token_of_every_kind_of_public_key_is_good(issuer: Issuer, tokens: TokenVerifier, algorithm: str) -> None:
    key: Any = {"ES": lambda: ec.generate_private_key(ec.SECP384R1()), "Ed": ed25519.Ed25519PrivateKey.generate}.get(
        algorithm[:2], lambda: rsa_key("second")
    )()
    issuer.keys.append(public(key, "second"))
    token = issuer.token(key=key, kid="second", algorithm=algorithm)
    assert (await tokens.identify(token)).key_name == "ada"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": int(time.time()) - 60}, "expired"),
        ({"exp": 0}, "expired"),
        ({"exp": "soon"}, "signed"),
        ({"exp": float("nan")}, "signed"),
        ({"exp": [1]}, "signed"),
        ({"nbf": int(time.time()) + 600}, "not valid yet"),
        ({"nbf": "x"}, "signed"),
        ({"iat": int(time.time()) + 600}, "not valid yet"),
        ({"aud": "other"}, "audience"),
        ({"aud": f"{AUDIENCE}/"}, "audience"),
        ({"aud": ["other", "another"]}, "audience"),
        ({"aud": []}, "aud"),
        ({"aud": {AUDIENCE: 1}}, "audience"),
        ({"iss": "https://other.example"}, "another issuer"),
        ({"sub": ""}, "subject"),
        ({"sub": 5}, "signed"),
        ({"sub": "a\nb"}, "subject"),
        ({"sub": "a" * 256}, "subject"),
        ({"scope": 5}, "scope"),
        ({"scope": {"read": True}}, "scope"),
        ({"scope": ["read", 5]}, "scope"),
        *(({"without": name}, name) for name in ("exp", "aud", "iss", "sub")),
    ],
)
async def test_token_with_claims_that_do_not_fit_is_refused_with_a_reason(
    issuer: Issuer, tokens: TokenVerifier, claims: dict[str, Any], reason: str
) -> None:
    assert reason in await _refused(tokens, issuer.token(**claims))


async def test_token_for_ever_is_good(issuer: Issuer, tokens: TokenVerifier) -> None:
    caller = await tokens.identify(issuer.token(exp=10**400))
    assert caller.expires_at is not None
    assert caller.expires_at > 2**53


async def test_clocks_may_differ_a_little(issuer: Issuer, tokens: TokenVerifier) -> None:
    now = int(time.time())
    await tokens.identify(issuer.token(exp=now - 10, nbf=now + 10, iat=now + 10))


async def test_algorithms_without_a_public_key_are_refused_before_a_key_is_looked_for(
    issuer: Issuer, tokens: TokenVerifier
) -> None:
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "ada", "exp": int(time.time()) + 60, "scope": "admin"}
    for algorithm in ("none", "None", "NONE", "", "HS256", "HS512", "ES256K", "RSA-OAEP", None, 5, ["RS256"]):
        header = {"alg": algorithm, "typ": "JWT", "kid": "first"}
        for signature in ("", "AA"):
            assert "another algorithm" in await _refused(tokens, f"{_part(header)}.{_part(claims)}.{signature}")
    assert issuer.asked == []


async def test_public_key_is_no_shared_secret(issuer: Issuer, tokens: TokenVerifier) -> None:
    """The classic confusion: HS256 over the bytes of the public key, in every form that a library may take it in."""
    key = rsa_key("first").public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    secrets = (pem, pem.strip(), json.dumps(issuer.keys[0]).encode(), issuer.keys[0]["n"].encode())
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "eve", "exp": int(time.time()) + 60, "scope": "admin"}
    for secret in secrets:
        for algorithm in ("HS256", "RS256"):
            signed = f"{_part({'alg': algorithm, 'kid': 'first'})}.{_part(claims)}"
            signature = _part(hmac.digest(secret, signed.encode(), hashlib.sha256))
            await _refused(tokens, f"{signed}.{signature}")


async def test_listed_shared_secret_signs_nothing(issuer: Issuer, tokens: TokenVerifier) -> None:
    secret = "s" * 32
    issuer.keys.append({"kty": "oct", "kid": "shared", "k": _part(secret.encode()), "alg": "HS256"})
    await _refused(tokens, issuer.token("admin", key=secret, kid="shared", algorithm="HS256"))


async def test_key_verifies_only_the_algorithm_that_it_is_listed_for(issuer: Issuer, tokens: TokenVerifier) -> None:
    assert "another key" in await _refused(tokens, issuer.token(algorithm="PS256"))


async def test_token_of_another_key_is_refused_whatever_it_brings(issuer: Issuer, tokens: TokenVerifier) -> None:
    mallory = rsa_key("mallory")
    own = public(mallory, "first")
    for header in ({}, {"jwk": own}, {"jku": "https://mallory.example/keys"}, {"x5c": ["AAAA"]}, {"x5u": "https://m"}):
        assert "signed" in await _refused(tokens, issuer.token("admin", key=mallory, header=header))
    assert "another key" in await _refused(tokens, issuer.token("admin", key=mallory, kid="mallory"))
    assert set(issuer.asked) == {"/.well-known/openid-configuration", "/keys"}


async def test_weak_key_of_the_issuer_is_refused(issuer: Issuer, tokens: TokenVerifier) -> None:
    weak = rsa_key("weak", 1024)
    issuer.keys.append(public(weak, "weak"))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = issuer.token(key=weak, kid="weak")
    await _refused(tokens, token)


async def test_changed_token_is_refused(issuer: Issuer, tokens: TokenVerifier) -> None:
    token = issuer.token("read")
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    for changed in (
        f"{head}.{_part(claims | {'scope': 'admin'})}.{signature}",
        f"{head}.{body}.{signature[:-4]}",
        f"{head}.{body}.",
        f"{head}.{body}.{'A' * len(signature)}",
        f"{head}..{signature}",
    ):
        await _refused(tokens, changed)


@pytest.mark.parametrize(
    "token",
    [
        "a.b.c",
        f"{_part([])}.{_part({})}.AA",
        f"{_part(b'[' * 5000)}.{_part({})}.AA",
        f"{_part({'alg': 'RS256', 'kid': 5})}.{_part({})}.AA",
        f"{_part({'alg': 'RS256', 'kid': 'x' * 300})}.{_part({})}.AA",
        f"{_part({'alg': 'RS256', 'kid': 'first', 'crit': ['exp']})}.{_part({})}.AA",
        f"{_part({'alg': 'RS256', 'kid': 'first', 'b64': False, 'crit': ['b64']})}..AA",
        f"{_part({'alg': 'RS256', 'kid': 'first'})}.{_part(b'[' * 5000)}.AA",
        "\udcff.a.b",
    ],
)
async def test_what_is_no_token_is_refused(tokens: TokenVerifier, token: str) -> None:
    await _refused(tokens, token)


async def test_claims_and_prefix_are_those_of_the_settings(issuer: Issuer, keys: IssuerKeys) -> None:
    async def scopes(rules: dict[str, str], **claims: Any) -> set[str]:
        verifier = TokenVerifier(TokenRules(issuer.url, AUDIENCE, **rules), keys)
        return {str(scope) for scope in (await verifier.identify(issuer.token("admin", **claims))).scopes}

    roles = {"scopes_claim": "realm_access.roles"}
    assert await scopes(roles, realm_access={"roles": ["read", "offline_access"]}) == {"read"}
    assert await scopes(roles, realm_access=["read"]) == set()
    assert await scopes(roles) == set()
    assert await scopes({"scopes_claim": "https://example.com/roles"}, **{"https://example.com/roles": ["read"]}) == {
        "read"
    }
    prefix = {"scope_prefix": "loragen:"}
    assert await scopes(prefix, scope="loragen:read admin loragen:loragen:publish xloragen:publish") == {"read"}


async def test_scope_of_devices_is_no_tokens(issuer: Issuer, tokens: TokenVerifier) -> None:
    """A device reports as itself, and a token does not name one."""
    assert (await tokens.identify(issuer.token("device"))).scopes == frozenset()


async def test_tenant_is_that_of_its_claim_and_nobody_is_the_operator_for_lack_of_one(
    issuer: Issuer, keys: IssuerKeys
) -> None:
    verifier = TokenVerifier(TokenRules(issuer.url, AUDIENCE, tenant_claim="org"), keys)
    assert (await verifier.identify(issuer.token(org="acme"))).tenant == "acme"
    for org in ("", " ", "acme.east", "Acme", "a/b", 5, None, ["acme"], {"name": "acme"}):
        assert "org" in await _refused(verifier, issuer.token(org=org))
    assert "org" in await _refused(verifier, issuer.token())
