"""The keys of an issuer: when they are fetched, and what happens when they cannot be."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from jwt import PyJWK
from structlog.testing import capture_logs

from cloud_service.access.oidc_keys import PAUSE_SECONDS, IssuerKeys
from cloud_service.errors import UnavailableError
from tests.cloud_service.access.issuer import Issuer, public, rsa_key

DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


class Clock:
    """Seconds that only the test moves."""

    now = 100.0


@pytest_asyncio.fixture
async def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def keys(issuer: Issuer, clock: Clock) -> AsyncIterator[IssuerKeys]:
    keys = IssuerKeys.open(issuer.url)
    keys._monotonic = lambda: clock.now
    yield keys
    await keys.aclose()


async def _refused(keys: IssuerKeys) -> str:
    """Why a fetch failed, as the log says it."""
    with capture_logs() as logged:
        await keys.refresh()
    (line,) = [line for line in logged if line["event"] == "issuer_keys_not_fetched"]
    return str(line["reason"])


async def test_known_key_is_found_without_asking_again(issuer: Issuer, keys: IssuerKeys, clock: Clock) -> None:
    for _ in range(20):
        found = await keys.find("first", "RS256")
        assert isinstance(found, PyJWK)
        clock.now += PAUSE_SECONDS
    assert issuer.fetches == 1


async def test_unknown_key_is_asked_for_once_in_a_while_whatever_comes(
    issuer: Issuer, keys: IssuerKeys, clock: Clock
) -> None:
    for number in range(50):
        assert await keys.find(f"made up {number}", "RS256") is None
    assert issuer.fetches == 1
    issuer.keys.append(public(rsa_key("second"), "second"))
    assert await keys.find("second", "RS256") is None
    clock.now += PAUSE_SECONDS
    assert await keys.find("second", "RS256") is not None
    assert issuer.fetches == 2


async def test_calls_that_wait_share_one_fetch_and_one_that_hangs_up_does_not_end_it(
    issuer: Issuer, keys: IssuerKeys
) -> None:
    issuer.gate.clear()
    waiting = [asyncio.create_task(keys.find("first", "RS256")) for _ in range(10)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    issuer.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(isinstance(each, PyJWK) for each in found[1:])
    assert issuer.fetches == 1


async def test_issuer_that_is_away_leaves_known_keys_and_is_reported_for_others(
    issuer: Issuer, keys: IssuerKeys, clock: Clock
) -> None:
    issuer.fail()
    with pytest.raises(UnavailableError) as caught:
        await keys.find("first", "RS256")
    assert (caught.value.code, caught.value.headers["retry-after"]) == ("identity_provider_unavailable", "10")
    issuer.recover()
    clock.now += PAUSE_SECONDS
    assert await keys.find("first", "RS256") is not None
    issuer.fail()
    clock.now += 1_000_000
    assert "503" in await _refused(keys)
    assert await keys.find("first", "RS256") is not None
    with pytest.raises(UnavailableError):
        await keys.find("other", "RS256")


async def test_key_that_is_listed_no_more_is_forgotten(issuer: Issuer, keys: IssuerKeys) -> None:
    await keys.refresh()
    issuer.keys = [public(rsa_key("second"), "second")]
    await keys.refresh()
    assert await keys.find("first", "RS256") is None
    assert await keys.find("second", "RS256") is not None
    issuer.keys = []
    await keys.refresh()
    assert await keys.find("second", "RS256") is None


async def test_key_is_found_without_a_name_only_when_no_other_fits(issuer: Issuer, keys: IssuerKeys) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    issuer.keys.append(public(curve, "curve"))
    await keys.refresh()
    assert await keys.find(None, "RS256") is not None
    assert await keys.find(None, "ES256") is not None
    issuer.keys.append(public(rsa_key("second"), "second"))
    await keys.refresh()
    assert await keys.find(None, "RS256") is None
    issuer.keys.append(public(rsa_key("third"), "second"))
    await keys.refresh()
    assert await keys.find("second", "RS256") is None


async def test_key_serves_its_own_kind_of_signature_alone(issuer: Issuer, keys: IssuerKeys) -> None:
    curve, edwards = ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()
    issuer.keys = [
        public(rsa_key("first"), "bound", alg="RS256"),
        public(rsa_key("first"), "free"),
        public(curve, "curve"),
        public(edwards, "edwards"),
    ]
    await keys.refresh()
    good = {
        "bound": {"RS256"},
        "free": {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
        "curve": {"ES256", "ES384", "ES512"},  # which of them its curve is for is seen when it verifies
        "edwards": {"EdDSA"},
    }
    for kid, expected in good.items():
        names = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
        assert {name for name in names if await keys.find(kid, name) is not None} == expected


async def test_keys_that_are_secret_damaged_or_for_something_else_are_not_used(
    issuer: Issuer, keys: IssuerKeys
) -> None:
    good = public(rsa_key("first"), "x")
    exchange = x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()
    issuer.keys = [
        {"kty": "oct", "kid": "x", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"},
        {"kty": "oct", "kid": "x", "k": "c2VjcmV0", "alg": "RS256"},
        good | {"use": "enc"},
        good | {"d": "AQAB"},
        good | {"alg": "HS256"},
        good | {"alg": "none"},
        good | {"alg": ["RS256"]},
        good | {"alg": 5},
        good | {"n": 7},
        good | {"n": "!"},
        {"kty": "RSA", "kid": "x"},
        {"kty": ["RSA"], "kid": "x"},
        {"kty": "OKP", "crv": "X25519", "kid": "x", "x": exchange.hex()},
        {"kid": "x"},
        "x",  # type: ignore[list-item]
        None,  # type: ignore[list-item]
    ]
    await keys.refresh()
    for name in ("RS256", "ES256", "EdDSA"):
        assert await keys.find("x", name) is None


@pytest.mark.parametrize(
    ("path", "status", "body", "reason"),
    [
        (DISCOVERY, 200, '{"issuer": "https://other.example", "jwks_uri": "https://other.example"}', "issuer"),
        (DISCOVERY, 200, "{}", "issuer"),
        (DISCOVERY, 200, "[]", "JSON object"),
        (DISCOVERY, 200, "<html>", "JSON"),
        (DISCOVERY, 404, "{}", "404"),
        (DISCOVERY, 302, "https://other.example/", "302"),
        ("/keys", 200, '{"keys": {}}', "list of keys"),
        ("/keys", 200, "[" * 200_000, ""),
        ("/keys", 200, json.dumps({"keys": ["x" * 300_000]}), "at most"),
        ("/keys", 307, "/keys", "307"),
    ],
)
async def test_answer_that_is_none_changes_nothing(
    issuer: Issuer, keys: IssuerKeys, path: str, status: int, body: str, reason: str
) -> None:
    await keys.refresh()
    issuer.answers[path] = (status, body)
    assert reason in await _refused(keys)
    assert await keys.find("first", "RS256") is not None


@pytest.mark.parametrize("url", ["http://other.example/keys", "file:///etc/passwd", "http://[::1", "", 5, None])
async def test_keys_elsewhere_in_the_clear_are_not_fetched(issuer: Issuer, keys: IssuerKeys, url: object) -> None:
    issuer.answers[DISCOVERY] = (200, json.dumps({"issuer": issuer.url, "jwks_uri": url}))
    assert "ValueError" in await _refused(keys)
    assert issuer.fetches == 0


async def test_issuer_that_nobody_listens_for_or_that_hangs_is_given_up(
    issuer: Issuer, keys: IssuerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_service.access.oidc_keys._FETCH_SECONDS", 0.05)
    issuer.gate.clear()
    assert "TimeoutError" in await _refused(keys)
    issuer.gate.set()
    nobody = IssuerKeys.open("http://127.0.0.1:1")
    assert "Connect" in await _refused(nobody)
    await nobody.aclose()


async def test_closing_ends_a_fetch(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.gate.clear()
    waiting = asyncio.create_task(keys.refresh())
    await asyncio.sleep(0)
    await keys.aclose()
    assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError)
