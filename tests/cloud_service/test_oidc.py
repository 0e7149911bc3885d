"""A service that takes the tokens of an OpenID provider: HTTP, gRPC, the client, the audit log."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from cloud_service.access.key_service import KeyRequest
from cloud_service.access.scopes import Scope
from cloud_service.bootstrap import open_cloud
from cloud_service.config import CloudSettings
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as stubs
from loragen.web.errors import ConfigurationError
from tests.cloud_service.access.issuer import AUDIENCE, Issuer, rsa_key
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.guarded import Guarded


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest_asyncio.fixture
async def guarded(tmp_path: Path, generator: FakeGenerator, issuer: Issuer) -> AsyncIterator[Guarded]:
    settings = settings_for(tmp_path, oidc_issuer=issuer.url, oidc_audience=AUDIENCE, oidc_tenant_claim="org")
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as client:
        yield Guarded(cloud, client)


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_token_does_over_http_what_its_scopes_say_and_the_audit_log_names_its_subject(
    guarded: Guarded, issuer: Issuer
) -> None:
    http, publisher = guarded.http, _bearer(issuer.token("generate publish", org="acme", sub="ada"))
    assert (await http.get("/channels")).status_code == 401
    body = {"description": "Sort.", "publish": {"channel": "acme.kitchen", "name": "mail"}}
    assert (await http.post("/generate-lora", json=body, headers=publisher)).status_code == 200
    foreign = {"description": "Sort.", "publish": {"channel": "kitchen", "name": "mail"}}
    assert (await http.post("/generate-lora", json=foreign, headers=publisher)).status_code == 404
    refused = await http.get("/channels/acme.kitchen", headers=publisher)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "missing_scope")
    reader = _bearer(issuer.token("read", org="acme"))
    assert (await http.get("/channels/acme.kitchen", headers=reader)).status_code == 200
    audit = await http.get("/audit", headers=_bearer(issuer.token("admin", org="acme", sub="root")))
    (entry,) = audit.json()["entries"]
    assert (entry["action"], entry["key_id"], entry["key_name"], entry["tenant"]) == (
        "channel.publish",
        "oidc:ada",
        "ada",
        "acme",
    )


async def test_bad_tokens_are_refused_and_api_keys_go_on(guarded: Guarded, issuer: Issuer) -> None:
    http = guarded.http
    for token in (
        issuer.token("read", org="acme", exp=int(time.time()) - 60),
        issuer.token("read", org="acme", key=rsa_key("mallory")),
        issuer.token("read"),
        "a.b.c",
    ):
        refused = await http.get("/channels", headers=_bearer(token))
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_token")
        assert token not in refused.text
    assert (await http.get("/channels", headers=await guarded.key(Scope.READ))).status_code == 200


async def test_issuer_that_is_away_is_503_for_new_keys_alone(guarded: Guarded, issuer: Issuer) -> None:
    known = _bearer(issuer.token("read", org="acme"))
    assert (await guarded.http.get("/channels", headers=known)).status_code == 200
    issuer.fail()
    tokens = guarded.cloud.access.authenticator._tokens
    assert tokens is not None
    await tokens.refresh()
    assert (await guarded.http.get("/channels", headers=known)).status_code == 200
    unknown = await guarded.http.get("/channels", headers=_bearer(issuer.token("read", org="acme", kid="new")))
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (503, "identity_provider_unavailable")
    assert int(unknown.headers["retry-after"]) >= 1
    assert (await guarded.http.get("/channels", headers=await guarded.key(Scope.READ))).status_code == 200


async def test_token_does_over_grpc_what_it_does_over_http(guarded: Guarded, issuer: Issuer) -> None:
    async def status(call: Any) -> str:
        try:
            await call
        except grpc.aio.AioRpcError as e:
            return dict(e.trailing_metadata())["loragen-error-code"]
        return "ok"

    port = await guarded.cloud.grpc_server.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        generate = stubs.GeneratorStub(channel).GenerateLora
        request = pb.GenerateLoraRequest(description="Sort.")

        async def call(token: str) -> str:
            return await status(generate(request, metadata=tuple(_bearer(token).items())))

        assert await call(issuer.token("generate", org="acme")) == "ok"
        assert await call(issuer.token("read", org="acme")) == "missing_scope"
        assert await call(issuer.token("generate", org="acme", key=rsa_key("mallory"))) == "invalid_token"
        issuer.fail()
        tokens = guarded.cloud.access.authenticator._tokens
        assert tokens is not None
        await tokens.refresh()
        assert await call(issuer.token("generate", org="acme", kid="new")) == "identity_provider_unavailable"
    await guarded.cloud.grpc_server.stop(1)


async def test_subjects_have_limits_of_their_own(tmp_path: Path, generator: FakeGenerator, issuer: Issuer) -> None:
    settings = settings_for(tmp_path, oidc_issuer=issuer.url, oidc_audience=AUDIENCE, calls_per_minute=2)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        for subject in ("ada", "bob"):
            statuses = [
                (await http.get("/channels", headers=_bearer(issuer.token("read", sub=subject)))).status_code
                for _ in range(3)
            ]
            assert statuses == [200, 200, 429]


async def test_token_makes_keys_within_its_tenant(guarded: Guarded, issuer: Issuer) -> None:
    admin = _bearer(issuer.token("admin", org="acme"))
    made = await guarded.http.post("/keys", json={"name": "ci", "scopes": ["read"]}, headers=admin)
    assert made.json()["about"]["tenant"] == "acme"
    _, foreign = await guarded.cloud.access.keys.create(KeyRequest("own", (Scope.READ,)))
    assert (await guarded.http.delete(f"/keys/{foreign.id}", headers=admin)).status_code == 404


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"ISSUER": "https://id.example.com"}, ("OIDC_ISSUER", "OIDC_AUDIENCE")),
        ({"AUDIENCE": "loragen"}, ("OIDC_ISSUER", "OIDC_AUDIENCE")),
        ({"ISSUER": "http://id.example.com", "AUDIENCE": "loragen"}, ("OIDC_ISSUER", "https://")),
        ({"ISSUER": "id.example.com", "AUDIENCE": "loragen"}, ("OIDC_ISSUER",)),
    ],
)
def test_issuer_that_is_half_set_or_not_to_be_trusted_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], names: tuple[str, ...]
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(f"LORAGEN_CLOUD_OIDC_{name}", value)
    with pytest.raises(ConfigurationError) as caught:
        CloudSettings.load()
    assert all(name in str(caught.value) for name in names)


def test_issuer_and_no_authentication_contradict_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_OIDC_ISSUER", "https://id.example.com")
    monkeypatch.setenv("LORAGEN_CLOUD_OIDC_AUDIENCE", "loragen")
    assert CloudSettings.load().token_rules is not None
    monkeypatch.setenv("LORAGEN_CLOUD_AUTHENTICATION", "none")
    with pytest.raises(ConfigurationError, match="OIDC_ISSUER"):
        CloudSettings.load()
