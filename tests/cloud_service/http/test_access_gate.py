"""Who may call what over HTTP."""

import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cloud_service.access.caller import Caller, calling
from cloud_service.access.scopes import RULES, SIGN_IN_CALLS, Scope
from cloud_service.bootstrap import open_cloud
from cloud_service.limits import MAX_IMPORTS
from cloud_service.store import DeviceEntry
from loragen.web.routes import find_route
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.guarded import Guarded


def _path(call: str) -> tuple[str, str]:
    method, template = call.split(" ")
    filled = template
    for name in ("bundle_id", "recipe_id"):
        filled = filled.replace(f"{{{name}}}", "0" * 64)
    filled = (
        filled.replace("{key_id}", "0" * 12)
        .replace("{version}", "1")
        .replace("{job_id}", "0" * 32)
        .replace("{device_id}", "dev-1")
    )
    for name in ("channel", "name", "generator_id"):
        filled = filled.replace(f"{{{name}}}", "kitchen")
    return method, filled


CALLS = sorted(call for call in RULES if " " in call)
SIGN_IN_STATUS = dict.fromkeys(SIGN_IN_CALLS, 200) | {"POST /console/sign-in": 401, "GET /console/files/{name}": 404}


async def test_each_route_is_closed_without_a_key_and_to_every_other_scope(guarded: Guarded) -> None:
    keys = {scope: await guarded.key(scope, device="dev-1" if scope is Scope.DEVICE else "") for scope in Scope}
    for call in CALLS:
        method, path = _path(call)
        rule = RULES[call]
        answer = await guarded.http.request(method, path)
        if call in SIGN_IN_CALLS:
            assert (answer.status_code, "www-authenticate" in answer.headers) == (SIGN_IN_STATUS[call], False), call
            continue
        if rule.is_open or path.startswith(("/docs", "/openapi")):
            assert answer.status_code == 200, call
            continue
        if path.startswith("/console"):
            await _verify_console(guarded, call, keys)
            continue
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated"), call
        assert answer.headers["www-authenticate"].startswith("Bearer "), call
        for scope, key in keys.items():
            answer = await guarded.http.request(method, path, headers=key)
            if scope in (*rule.scopes, Scope.ADMIN):
                assert answer.status_code not in (401, 403, 500), call
            else:
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "missing_scope"), call
                assert rule.scopes[0] in answer.json()["error"]["message"], call


async def _verify_console(guarded: Guarded, call: str, keys: dict[Scope, dict[str, str]]) -> None:
    """Its errors are pages."""
    method, path = _path(call)
    answer = await guarded.http.request(method, path)
    if method == "GET":
        assert answer.status_code == 303, call
        assert answer.headers["location"].startswith("/console/sign-in"), call
    else:
        assert answer.status_code == 401, call
    for scope, key in keys.items():
        answer = await guarded.http.request(method, path, headers=key)
        if scope in (*RULES[call].scopes, Scope.ADMIN):
            assert answer.status_code not in (303, 401, 403, 500), call
        else:
            assert answer.status_code == 403, call
            assert RULES[call].scopes[0] in answer.text, call


async def test_no_path_is_remembered(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that another tenant asked for would be answered sooner than one that nobody asked for."""
    looked: list[str] = []

    def find(scope: Any) -> tuple[str | None, dict[str, Any]]:
        looked.append(scope["path"])
        return find_route(scope)

    monkeypatch.setattr("cloud_service.http.access_gate.find_route", find)
    for _ in range(2):
        assert (await guarded.http.get("/channels/acme.kitchen")).status_code == 401
    assert looked == ["/channels/acme.kitchen"] * 2


async def test_import_over_the_bound_is_refused_before_its_body_is_read(guarded: Guarded) -> None:
    """Each of them holds many megabytes."""

    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        raise AssertionError("the body was read")

    usage, key = guarded.cloud.access.usage, await guarded.key(Scope.PUBLISH, tenant="acme")
    with calling(Caller("another", tenant="acme")):
        held = [usage.hold("imports", MAX_IMPORTS) for _ in range(MAX_IMPORTS // 2)]
    answer = await guarded.http.post("/bundles", content=body(), headers=key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "share_used_up")
    other = await guarded.http.post("/bundles", headers=await guarded.key(Scope.PUBLISH, tenant="other"))
    assert other.status_code == 422, "another tenant has a place"
    with calling(Caller("third")):
        held += [usage.hold("imports", MAX_IMPORTS) for _ in range(MAX_IMPORTS // 2)]
    answer = await guarded.http.post("/bundles", content=body(), headers=await guarded.key(Scope.PUBLISH))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    for give_back in held:
        give_back()
    assert (await guarded.http.post("/bundles", headers=key)).status_code == 422


async def test_key_that_is_none_is_refused_before_its_body_is_read(guarded: Guarded) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        raise AssertionError("the body was read")

    headers = {"authorization": "Bearer nonsense", "content-type": "application/json"}
    answer = await guarded.http.post("/generate-lora", content=body(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_path_and_method_that_are_not_there_tell_nothing_without_a_key(guarded: Guarded) -> None:
    key = await guarded.key(Scope.READ)
    for method, path, status in (("GET", "/nothing", 404), ("PATCH", "/generators", 405), ("HEAD", "/generators", 200)):
        assert (await guarded.http.request(method, path)).status_code == 401
        assert (await guarded.http.request(method, path, headers=key)).status_code == status


async def test_publishing_with_a_generation_needs_its_own_scope(guarded: Guarded) -> None:
    body = {"description": "Sort.", "publish": {"channel": "kitchen", "name": "mail"}}
    answer = await guarded.http.post("/generate-lora", json=body, headers=await guarded.key(Scope.GENERATE))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "missing_scope")
    both = await guarded.key(Scope.GENERATE, Scope.PUBLISH)
    assert (await guarded.http.post("/generate-lora", json=body, headers=both)).status_code == 200


async def test_what_needs_a_key_is_for_no_shared_cache(guarded: Guarded) -> None:
    headers = await guarded.key(Scope.GENERATE, Scope.READ)
    body = {"description": "Sort."}
    bundle_id = (await guarded.http.post("/generate-lora", json=body, headers=headers)).json()["id"]
    answer = await guarded.http.get(f"/bundles/{bundle_id}", headers=headers)
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"


async def test_key_is_no_password(guarded: Guarded) -> None:
    key = (await guarded.key(Scope.READ))["authorization"].removeprefix("Bearer ")
    for path, status in (("/console", 303), ("/generators", 401)):
        assert (await guarded.http.get(path, auth=("anybody", key))).status_code == status


async def test_device_says_no_other_name_than_its_own(guarded: Guarded) -> None:
    key = await guarded.key(Scope.DEVICE, device="dev-1")
    for name, status in (("dev-1", 404), ("dev-2", 403)):  # there is no such channel yet
        answer = await guarded.http.get("/channels/kitchen", headers={**key, "x-loragen-device": name})
        assert answer.status_code == status


async def test_key_is_named_in_the_log_and_never_shown(guarded: Guarded, capsys: pytest.CaptureFixture[str]) -> None:
    key = await guarded.key(Scope.READ)
    capsys.readouterr()
    await guarded.http.get("/generators", headers=key)
    log = capsys.readouterr().out
    token = key["authorization"].removeprefix("Bearer ")
    assert token.split("_")[1] in log
    assert token.split("_")[2] not in log


async def test_service_without_keys_answers_everybody(http: httpx2.AsyncClient) -> None:
    for path in ("/generators", "/metrics", "/docs", "/keys", "/audit"):
        assert (await http.get(path)).status_code == 200
    assert (await http.get("/generators", headers={"authorization": "Bearer nonsense"})).status_code == 200


@pytest.mark.parametrize(("docs", "status"), [("off", 404), ("key", 200)])
async def test_docs_without_keys_are_as_the_settings_say(
    tmp_path: Path, generator: FakeGenerator, docs: str, status: int
) -> None:
    async with open_cloud(settings_for(tmp_path, docs=docs), [generator]) as cloud, client_of(cloud) as http:
        assert (await http.get("/docs")).status_code == status
        assert (await http.get("/openapi.json")).status_code == status


async def test_docs_can_be_closed_and_metrics_open(tmp_path: Path, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path, docs="key", authentication="keys", metrics="open")
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        assert (await http.get("/docs")).status_code == 401
        assert (await http.get("/metrics")).status_code == 200


async def test_tenant_gets_404_for_channels_of_others_and_no_metrics(guarded: Guarded) -> None:
    key = await guarded.key(Scope.ADMIN, tenant="acme")
    for path in ("/channels/kitchen", "/channels/other.kitchen/devices"):
        answer = await guarded.http.get(path, headers=key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert (await guarded.http.get("/metrics", headers=key)).status_code == 403


async def test_what_is_another_tenants_is_answered_like_what_is_not_there(
    guarded: Guarded, generator: FakeGenerator
) -> None:
    """On each path that names something, over all methods: not even the message may tell the two apart."""
    generator.tuner_gate.clear()
    own, other = await guarded.key(Scope.ADMIN, tenant="acme"), await guarded.key(Scope.ADMIN, tenant="zeta")
    post = partial(guarded.http.post, headers=own)
    task = {"description": "a", "publish": {"channel": "acme.k", "name": "n"}}
    made = (await post("/generate-lora", json=task)).json()
    await guarded.cloud.devices.report(DeviceEntry("acme.k", "dev-1", 1, (), {}, ()), b"{}")
    examples = [{"input": str(n), "output": str(n)} for n in range(4)]
    job = {"description": "a", "examples": examples, "refine": {}}
    job_id = (await post("/generate-lora", json=job, headers=own | {"prefer": "respond-async"})).json()["id"]
    key_id = own["authorization"].split("_")[1]
    there = {"bundle_id": made["id"], "recipe_id": made["recipe_id"], "channel": "acme.k", "job_id": job_id}
    there |= {"key_id": key_id, "device_id": "dev-1", "name": "n", "version": "1"}
    missing = {"bundle_id": "0" * 64, "recipe_id": "1" * 64, "channel": "acme.q", "job_id": "2" * 32}
    missing |= {"key_id": "3" * 12, "device_id": "dev-9", "name": "q", "version": "9"}
    bodies = {"POST /channels/{channel}/rollback": {"version": 1}, "PATCH": {"state": "aborted"}, "PUT": {}}
    bodies |= {"POST /channels/{channel}/rollouts": {"version": 1}, "POST /keys/{key_id}/rotate": {}}

    async def answer(call: str, names: dict[str, str]) -> tuple[int, str]:
        method, template = call.split(" ")
        body = bodies.get(call, bodies.get(method))
        body = {"bundle_id": names["bundle_id"]} if method == "PUT" else body
        path = template.format_map(names) + ("?from=1&old=1" if template.endswith("diff") else "")
        found = await guarded.http.request(method, path, json=body, headers=other)
        text = found.text
        for name in names.values():
            text = text.replace(name, "") if len(name) > 5 else text
        return found.status_code, re.sub(r"[0-9a-f]{32}", "", text)

    others = ("{file}", "{generator_id}", "/files/")  # which are nobody's
    named = [call for call in CALLS if "{" in call and not any(other in call for other in others)]
    assert len(named) > 25
    for call in named:
        assert await answer(call, there) == await answer(call, missing), call
    assert (await guarded.http.get("/channels/acme.k", headers=own)).status_code == 200
    assert (await guarded.http.get(f"/jobs/{job_id}", headers=own)).json()["state"] in ("queued", "running")
    generator.tuner_gate.set()
