"""`DELETE /bundles/{id}` and `/recipes/{id}`: what is deleted, what is refused, and what others see of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from cloud_service import deletion
from cloud_service.access.caller import Caller, calling
from cloud_service.access.scopes import Scope
from cloud_service.artifacts import ArtifactService
from cloud_service.bootstrap import open_cloud
from cloud_service.deletion import DeletionService
from cloud_service.errors import ConflictError, NotFoundError
from cloud_service.fleet.channels import ChannelService
from cloud_service.lora_request import LoraRequest
from cloud_service.service import LoraService
from cloud_service.store import StoredImport, StoredLora
from cloud_service.task import TaskDescription
from cloud_service.telemetry import Metrics
from loragen.contract.assembly import build_bundle
from loragen.contract.bank import Bank
from loragen.contract.bundle import content_id
from loragen.contract.recipe import Recipe
from tests.adapters import random_adapter
from tests.cloud_service.clouds import client_of, make_bundle, settings_for
from tests.cloud_service.fake_generator import LINEARS, FakeGenerator
from tests.cloud_service.guarded import Guarded
from tests.cloud_service.services import MakeService, make_channels
from tests.cloud_service.store_backends import RedisBackend, StoreBackend

BODY = {"description": "Sort the mail."}
ALL = (Scope.GENERATE, Scope.READ, Scope.PUBLISH)
KEPT = "/channels/acme.kitchen/specializations/mail"


@pytest_asyncio.fixture(params=["sqlite", "redis"])
async def cloud(request: pytest.FixtureRequest, tmp_path: Path, generator: FakeGenerator) -> AsyncIterator[Guarded]:
    """The whole service over each kind of store, which asks for keys."""
    redis = RedisBackend(tmp_path)
    changes = {}
    if request.param == "redis":
        await redis.open()
        changes = {"store_url": redis.url}
    settings = settings_for(tmp_path, authentication="keys", **changes)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        yield Guarded(cloud, http)
    await redis.stop()


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was published was published long ago."""
    monkeypatch.setattr(deletion, "_SETTLED_SECONDS", 0.0)


async def _generate(cloud: Guarded, key: dict[str, str]) -> dict[str, Any]:
    answer = await cloud.http.post("/generate-lora", json=BODY, headers=key)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _import(cloud: Guarded, key: dict[str, str]) -> httpx2.Response:
    adapter = random_adapter(LINEARS)
    files = {"adapter_config": adapter.config, "adapter_model": adapter.weights}
    return await cloud.http.post("/bundles", files=files, headers=key)


async def _status(cloud: Guarded, method: str, path: str, key: dict[str, str]) -> int:
    return (await cloud.http.request(method, path, headers=key)).status_code


def _code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("tenant", ["acme", ""])
@pytest.mark.parametrize("by", ["bundle", "bundle by its recipe", "recipe"])
async def test_lora_is_deleted_whole_once_and_can_be_made_again(cloud: Guarded, tenant: str, by: str) -> None:
    key = await cloud.key(*ALL, tenant=tenant)
    for _ in range(2):
        bundle_id = await make_bundle(cloud.http, BODY["description"], key)
        recipe_id = (await _generate(cloud, key))["recipe_id"]
        for _ in range(2):  # remembered from here on
            await _generate(cloud, key)
        paths = [f"/bundles/{bundle_id}", f"/bundles/{recipe_id}", f"/recipes/{recipe_id}"]
        assert [await _status(cloud, "GET", path, key) for path in paths] == [200] * 3
        path = paths[["bundle", "bundle by its recipe", "recipe"].index(by)]
        deleted = await cloud.http.delete(path, headers=key)
        assert (deleted.status_code, deleted.content) == (204, b"")
        for method in ("GET", "DELETE"):
            assert [await _status(cloud, method, path, key) for path in paths] == [404] * 3
        again = await _generate(cloud, key)
        assert [await _status(cloud, "GET", link, key) for link in list(again["links"].values())[:2]] == [200] * 2


@pytest.mark.parametrize("tenant", ["acme", ""])
async def test_imported_bundle_is_deleted_and_can_be_imported_again(cloud: Guarded, tenant: str) -> None:
    key = await cloud.key(*ALL, tenant=tenant)
    for _ in range(2):
        path = f"/bundles/{(await _import(cloud, key)).json()['id']}"
        assert await _status(cloud, "DELETE", path.replace("bundles", "recipes"), key) == 404
        assert [await _status(cloud, method, path, key) for method in ("GET", "DELETE", "GET", "DELETE")] == [
            200,
            204,
            404,
            404,
        ]


async def test_what_a_channel_names_is_refused_until_the_channel_is_gone(cloud: Guarded, settled: None) -> None:
    key = await cloud.key(*ALL, tenant="acme")
    made, imported = await _generate(cloud, key), (await _import(cloud, key)).json()["id"]
    for artifact_id, other in ((made["id"], imported), (imported, made["id"])):
        assert (await cloud.http.put(KEPT, json={"bundle_id": artifact_id}, headers=key)).status_code == 200
        # The other one is named by the version that was kept.
        assert (await cloud.http.put(KEPT, json={"bundle_id": other}, headers=key)).status_code == 200
        paths = [f"/bundles/{made['id']}", f"/recipes/{made['recipe_id']}", f"/bundles/{imported}"]
        for path in paths:
            refused = await cloud.http.delete(path, headers=key)
            assert _code(refused) == (409, "bundle_in_use")
            assert "'acme.kitchen'" in refused.json()["error"]["message"]
            assert await _status(cloud, "GET", path, key) == 200
        operator = await cloud.http.delete(paths[0], headers=await cloud.key(Scope.PUBLISH))
        assert _code(operator) == (409, "bundle_in_use")
    assert await _status(cloud, "DELETE", "/channels/acme.kitchen", key) == 204
    assert [await _status(cloud, "DELETE", path, key) for path in (paths[0], paths[2])] == [204, 204]


async def test_what_a_rollout_brings_is_refused(cloud: Guarded, settled: None) -> None:
    key = await cloud.key(*ALL, tenant="acme")
    first = (await _import(cloud, key)).json()["id"]
    assert (await cloud.http.put(KEPT, json={"bundle_id": first}, headers=key)).status_code == 200
    second = (await _generate(cloud, key))["id"]
    body = {"name": "mail", "bundle_id": second, "percent": 1}
    started = await cloud.http.post("/channels/acme.kitchen/rollouts", json=body, headers=key)
    assert started.status_code == 201, started.text
    assert _code(await cloud.http.delete(f"/bundles/{second}", headers=key)) == (409, "bundle_in_use")


async def test_what_was_published_a_moment_ago_is_refused(cloud: Guarded) -> None:
    """The channel that is to name it may not be written yet."""
    key = await cloud.key(*ALL, tenant="acme")
    made = await _generate(cloud, key)
    assert (await cloud.http.put(KEPT, json={"bundle_id": made["id"]}, headers=key)).status_code == 200
    assert await _status(cloud, "DELETE", "/channels/acme.kitchen", key) == 204
    assert _code(await cloud.http.delete(f"/recipes/{made['recipe_id']}", headers=key)) == (409, "bundle_in_use")


async def test_others_keep_theirs_and_learn_nothing(cloud: Guarded, settled: None) -> None:
    acme, other = await cloud.key(*ALL, tenant="acme"), await cloud.key(*ALL, tenant="other")
    made, imported = await _generate(cloud, acme), (await _import(cloud, acme)).json()["id"]
    paths = [f"/bundles/{made['id']}", f"/recipes/{made['recipe_id']}", f"/bundles/{imported}"]
    for path in paths:
        foreign = await cloud.http.delete(path, headers=other)
        missing = await cloud.http.delete(f"{path[:-64]}{'0' * 64}", headers=other)
        found = [{**each.json()["error"], "request_id": ""} for each in (foreign, missing)]
        assert foreign.status_code == missing.status_code == 404
        assert str(found[0]).replace(path[-64:], "0" * 64) == str(found[1])
    await _generate(cloud, other)
    await _import(cloud, other)
    for artifact_id in (made["id"], imported):
        path = KEPT.replace("acme", "other")
        assert (await cloud.http.put(path, json={"bundle_id": artifact_id}, headers=other)).status_code == 200
    # What the other one publishes does not stand in the way.
    assert [await _status(cloud, "DELETE", path, acme) for path in (paths[0], paths[2])] == [204, 204]
    assert [await _status(cloud, "GET", path, acme) for path in paths] == [404] * 3
    assert [await _status(cloud, "GET", path, other) for path in paths] == [200] * 3


async def test_deletion_needs_the_scope_and_is_in_the_audit_log(cloud: Guarded) -> None:
    key = await cloud.key(*ALL, tenant="acme")
    made, imported = await _generate(cloud, key), (await _import(cloud, key)).json()["id"]
    reader = await cloud.key(Scope.READ, Scope.GENERATE, tenant="acme")
    assert await _status(cloud, "DELETE", f"/bundles/{imported}", reader) == 403
    assert await _status(cloud, "DELETE", f"/recipes/{made['recipe_id']}", reader) == 403
    await cloud.http.delete(f"/bundles/{imported}", headers=key)
    await cloud.http.delete(f"/recipes/{made['recipe_id']}", headers=key)
    entries = (await cloud.http.get("/audit", headers=await cloud.key(Scope.ADMIN, tenant="acme"))).json()["entries"]
    assert [(entry["action"], entry["target"]["id"]) for entry in entries] == [
        ("recipe.delete", made["recipe_id"]),
        ("bundle.delete", imported),
        ("bundle.import", imported),
    ]


async def test_deleted_imports_make_room(tmp_path: Path, generator: FakeGenerator) -> None:
    async with open_cloud(settings_for(tmp_path), [generator]) as one, client_of(one) as http:
        size = (await _import(Guarded(one, http), {})).json()["bundle_bytes"]
    settings = settings_for(tmp_path / "full", import_budget_bytes=size)
    async with open_cloud(settings, [generator]) as one, client_of(one) as http:
        cloud = Guarded(one, http)
        first = (await _import(cloud, {})).json()["id"]
        adapter = random_adapter(LINEARS, seed=1)
        files = {"adapter_config": adapter.config, "adapter_model": adapter.weights}
        assert _code(await http.post("/bundles", files=files)) == (507, "import_budget_used_up")
        assert await _status(cloud, "DELETE", f"/bundles/{first}", {}) == 204
        assert (await http.post("/bundles", files=files)).status_code == 200


class _DeletedMeanwhile:
    """Bundles that somebody deletes when a publish has just found them."""

    def __init__(self, service: LoraService, deletion: DeletionService) -> None:
        self._artifacts = service.artifacts
        self._deletion = deletion

    async def find_bundle(self, either_id: str) -> StoredLora | StoredImport:
        """The bundle, which is gone afterwards."""
        found = await self._artifacts.find_bundle(either_id)
        await self._deletion.delete_bundle(either_id)
        return found


@pytest.mark.parametrize("tenant", ["acme", ""])
async def test_publish_comes_before_a_deletion_or_fails(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService, tenant: str
) -> None:
    """On two replicas: no channel names what its tenant does not see."""
    one, two = await backend.open(), await backend.open()
    service = services(one, generator)
    deleting = DeletionService(two, make_channels(two))
    with calling(Caller(key_id="key", tenant=tenant)):
        made = await service.generate(LoraRequest(TaskDescription("Sort.")))
        channels = ChannelService(one, _DeletedMeanwhile(service, deleting), watch_interval_seconds=1)
        with pytest.raises(NotFoundError) as gone:
            await channels.publish("acme.kitchen", "mail", made.id)
        assert gone.value.code == "bundle_not_found"
        assert await channels.list_channels(1) == []
        made = await service.generate(LoraRequest(TaskDescription("Sort.")))
        channels = ChannelService(one, service.artifacts, watch_interval_seconds=1)
        entry = await channels.pin("acme.kitchen", "mail", made.id)  # what a publish does before it writes the channel
        for either_id in (made.id, entry.bundle_id):
            with pytest.raises(ConflictError):
                await deleting.delete_bundle(either_id)
        assert await service.artifacts.find_bundle(entry.bundle_id)


class _SlowBuild(ArtifactService):
    """Builds a bundle only once it may."""

    asked: asyncio.Event
    may_go_on: asyncio.Event

    async def build(self, bank: Bank, recipe: Recipe) -> tuple[str, bytes, float]:
        """The bundle, later."""
        self.asked.set()
        await self.may_go_on.wait()
        return await super().build(bank, recipe)


@pytest.mark.parametrize("tenant", ["acme", ""])
async def test_recipe_that_is_deleted_while_its_bundle_is_built_stays_deleted(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService, tenant: str
) -> None:
    """The deletion comes from another replica; whoever asked for the bundle hears that it is gone."""
    one, two = await backend.open(), await backend.open()
    service, deleting = services(one, generator), DeletionService(two, make_channels(two))
    slow = _SlowBuild(one, one.access, service.catalog, timeout_seconds=10, threads=1, events=Metrics())
    slow.asked, slow.may_go_on = asyncio.Event(), asyncio.Event()
    with calling(Caller(key_id="key", tenant=tenant)):
        made = await service.generate(LoraRequest(TaskDescription("Sort.")))
        building = asyncio.create_task(slow.find_bundle(made.id))
        await asyncio.wait_for(slow.asked.wait(), 5)
        await deleting.delete_recipe(made.id)
        slow.may_go_on.set()
        with pytest.raises(NotFoundError):
            await building
        bundle_id = content_id(build_bundle(generator.bank, made.recipe))
        for either_id in (made.id, bundle_id):
            with pytest.raises(NotFoundError):
                await service.artifacts.find_bundle(either_id)
    await slow.close(1)


async def test_bundle_that_is_deleted_while_it_is_fetched_is_sent_whole_or_not_at_all(cloud: Guarded) -> None:
    key = await cloud.key(*ALL, tenant="acme")
    path = f"/bundles/{(await _import(cloud, key)).json()['id']}"
    size = int((await cloud.http.head(path, headers=key)).headers["content-length"])
    fetches = [asyncio.create_task(cloud.http.get(path, headers=key)) for _ in range(20)]
    deleted = asyncio.create_task(cloud.http.delete(path, headers=key))
    fetches += [asyncio.create_task(cloud.http.get(path, headers=key)) for _ in range(20)]
    answers = await asyncio.gather(*fetches)
    assert (await deleted).status_code == 204
    assert {(answer.status_code, len(answer.content) == size) for answer in answers} <= {(200, True), (404, False)}
    assert (await cloud.http.get(path, headers=key)).status_code == 404


async def test_bundle_is_not_deleted_while_a_rollout_of_it_begins_or_goes_on(cloud: Guarded) -> None:
    """A deletion that comes with the rollout either is refused, or has the rollout refused."""
    key = await cloud.key(*ALL, tenant="acme")
    first = (await _import(cloud, key)).json()["id"]
    assert (await cloud.http.put(KEPT, json={"bundle_id": first}, headers=key)).status_code == 200
    for _ in range(5):
        second = await make_bundle(cloud.http, BODY["description"], key)
        body = {"name": "mail", "bundle_id": second, "percent": 1}
        begun, deleted = await asyncio.gather(
            cloud.http.post("/channels/acme.kitchen/rollouts", json=body, headers=key),
            cloud.http.delete(f"/bundles/{second}", headers=key),
        )
        assert (begun.status_code, deleted.status_code) in ((201, 409), (404, 204))
        there = await _status(cloud, "GET", f"/bundles/{second}", key)
        assert there == (200 if begun.status_code == 201 else 404)
        if begun.status_code == 201:
            break


async def test_channel_that_is_deleted_while_it_is_published_to_names_what_is_there(cloud: Guarded) -> None:
    key = await cloud.key(*ALL, tenant="acme")
    for _ in range(5):
        made = await make_bundle(cloud.http, BODY["description"], key)
        published, _, deleted = await asyncio.gather(
            cloud.http.put(KEPT, json={"bundle_id": made}, headers=key),
            cloud.http.delete("/channels/acme.kitchen", headers=key),
            cloud.http.delete(f"/bundles/{made}", headers=key),
        )
        assert published.status_code in (200, 404)
        assert deleted.status_code in (204, 409)
        channel = await cloud.http.get("/channels/acme.kitchen", headers=key)
        if channel.status_code == 200:
            for entry in channel.json()["specializations"]:
                assert await _status(cloud, "GET", f"/bundles/{entry['bundle_id']}", key) == 200
