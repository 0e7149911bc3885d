"""A tenant sees what is its own, and learns nothing of others."""

from typing import Any

import httpx2
import pytest

from cloud_service.access.scopes import Scope
from cloud_service.store import DeviceEntry
from tests.adapters import random_adapter
from tests.cloud_service.fake_generator import LINEARS, FakeGenerator
from tests.cloud_service.guarded import Guarded

BODY = {"description": "Sort the mail."}
ALL = (Scope.GENERATE, Scope.READ, Scope.PUBLISH)


def _without_request_id(answer: httpx2.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    return {name: value for name, value in error.items() if name != "request_id"}


async def test_equal_requests_of_two_tenants_reveal_nothing(guarded: Guarded, generator: FakeGenerator) -> None:
    answers = []
    for tenant in ("", "acme", "other"):
        key = await guarded.key(*ALL, tenant=tenant)
        answers += [(await guarded.http.post("/generate-lora", json=BODY, headers=key)).json() for _ in range(2)]
    assert [answer["cached"] for answer in answers] == [False, True] * 3
    assert len({answer["id"] for answer in answers}) == 1
    assert len(generator.prompts) == 3


async def test_artifacts_of_others_are_as_those_that_are_not_there(guarded: Guarded) -> None:
    acme, other = await guarded.key(*ALL, tenant="acme"), await guarded.key(*ALL, tenant="other")
    made = (await guarded.http.post("/generate-lora", json=BODY, headers=acme)).json()
    absent = "0" * 64
    fetched = await guarded.http.get(f"/bundles/{made['id']}", headers=acme)
    bundle_id = fetched.headers["etag"].strip('"')
    for kind, artifact_id in (("bundles", made["id"]), ("bundles", bundle_id), ("recipes", made["recipe_id"])):
        assert (await guarded.http.get(f"/{kind}/{artifact_id}", headers=acme)).status_code == 200
        foreign = await guarded.http.get(f"/{kind}/{artifact_id}", headers=other)
        missing = await guarded.http.get(f"/{kind}/{absent}", headers=other)
        assert foreign.status_code == missing.status_code == 404
        assert str(_without_request_id(foreign)).replace(artifact_id, absent) == str(_without_request_id(missing))
        operator = await guarded.key(Scope.READ)
        assert (await guarded.http.get(f"/{kind}/{artifact_id}", headers=operator)).status_code == 200


async def test_bundle_of_others_cannot_be_published(guarded: Guarded) -> None:
    acme, other = await guarded.key(*ALL, tenant="acme"), await guarded.key(*ALL, tenant="other")
    lora_id = (await guarded.http.post("/generate-lora", json=BODY, headers=acme)).json()["id"]
    body = {"bundle_id": lora_id}
    path = "/channels/{}.kitchen/specializations/mail"
    foreign = await guarded.http.put(path.format("other"), json=body, headers=other)
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (404, "bundle_not_found")
    assert (await guarded.http.put(path.format("acme"), json=body, headers=other)).status_code == 404
    assert (await guarded.http.put(path.format("acme"), json=body, headers=acme)).status_code == 200
    # Who makes the same owns it too.
    await guarded.http.post("/generate-lora", json=BODY, headers=other)
    assert (await guarded.http.put(path.format("other"), json=body, headers=other)).status_code == 200


async def test_bundle_that_another_had_made_is_made_again_for_whoever_asks_first(guarded: Guarded) -> None:
    """Found made, it would come sooner, and tell of the other."""
    answers = []
    for tenant in ("acme", "other"):
        key = await guarded.key(*ALL, tenant=tenant)
        made = (await guarded.http.post("/generate-lora", json=BODY, headers=key)).json()
        before = await _built(guarded)
        answers += [await guarded.http.get(f"/bundles/{made['id']}", headers=key) for _ in range(2)]
        assert await _built(guarded) == before + 1
        if tenant == "acme":
            # Nor is there a way to it by its own id.
            bundle = f"/bundles/{answers[0].headers['etag'].strip(chr(34))}"
            other = await guarded.key(*ALL, tenant="other")
            assert (await guarded.http.get(bundle, headers=key)).status_code == 200
            assert (await guarded.http.get(bundle, headers=other)).status_code == 404
    assert len({answer.content for answer in answers}) == 1


async def _built(guarded: Guarded) -> int:
    metrics = (await guarded.http.get("/metrics", headers=await guarded.key(Scope.ADMIN))).text
    (line,) = [line for line in metrics.splitlines() if line.startswith("loragen_cloud_assemble_seconds_count")]
    return int(float(line.split()[1]))


async def test_listings_show_what_is_ones_own(guarded: Guarded) -> None:
    for tenant, channel in (("", "kitchen"), ("acme", "acme.a"), ("acme", "acme.b"), ("other", "other.a")):
        body = {**BODY, "publish": {"channel": channel, "name": "mail"}}
        key = await guarded.key(*ALL, tenant=tenant)
        assert (await guarded.http.post("/generate-lora", json=body, headers=key)).status_code == 200
        entry = DeviceEntry(channel, "dev-1", 1)
        report = {"device_id": "dev-1", "channel": channel, "channel_version": 1}
        await guarded.cloud.devices.report(entry, httpx2.Request("POST", "http://x", json=report).read())

    async def names(path: str, tenant: str) -> list[str]:
        answer = (await guarded.http.get(path, headers=await guarded.key(*ALL, tenant=tenant))).json()
        return [each["name"] for each in answer["channels"]]

    assert await names("/channels", "") == ["acme.a", "acme.b", "kitchen", "other.a"]
    assert await names("/channels", "acme") == ["acme.a", "acme.b"]
    assert await names("/channels?limit=1", "acme") == ["acme.a"]
    assert await names("/channels?after=acme.a", "acme") == ["acme.b"]
    assert await names("/channels?after=zoo", "acme") == []
    assert await names("/channels", "third") == []
    key = await guarded.key(Scope.READ, tenant="acme")
    devices = (await guarded.http.get("/devices", headers=key)).json()["devices"]
    assert {device["channel"] for device in devices} == {"acme.a", "acme.b"}
    assert (await guarded.http.get("/devices?channel=kitchen", headers=key)).status_code == 404


@pytest.mark.parametrize("tenant", ["acme", "other"])
async def test_imported_bundle_is_that_of_its_tenant(guarded: Guarded, tenant: str) -> None:
    adapter = random_adapter(LINEARS)
    files = {"adapter_config": adapter.config, "adapter_model": adapter.weights}
    key = await guarded.key(*ALL, tenant="acme")
    answer = await guarded.http.post("/bundles", files=files, headers=key)
    assert answer.status_code == 200, answer.text
    path = f"/bundles/{answer.json()['id']}"
    reader = await guarded.key(Scope.READ, tenant=tenant)
    assert (await guarded.http.get(path, headers=reader)).status_code == (200 if tenant == "acme" else 404)


async def test_changes_of_channels_are_in_the_audit_log(guarded: Guarded) -> None:
    acme = await guarded.key(*ALL, tenant="acme")
    body = {**BODY, "publish": {"channel": "acme.kitchen", "name": "mail"}}
    bundle_id = (await guarded.http.post("/generate-lora", json=body, headers=acme)).json()["id"]
    await guarded.http.delete("/channels/acme.kitchen/specializations/mail", headers=acme)
    admin = await guarded.key(Scope.ADMIN, tenant="acme")
    entries = (await guarded.http.get("/audit", headers=admin)).json()["entries"]
    assert [(entry["action"], entry["target"]) for entry in entries] == [
        ("channel.withdraw", {"channel": "acme.kitchen", "detail": "mail", "version": 2}),
        ("channel.publish", {"channel": "acme.kitchen", "detail": f"mail is {bundle_id}", "version": 1}),
    ]
    assert {entry["tenant"] for entry in entries} == {"acme"}
    assert all(entry["request_id"] and entry["key_id"] and entry["address"] for entry in entries)
