"""Jobs, asked for over HTTP: they end whatever happens, and any replica shows and cancels them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from cloud_service import jobs
from cloud_service.access.key_service import KeyRequest
from cloud_service.access.scopes import Scope
from cloud_service.bootstrap import Cloud, open_cloud
from tests.cloud_service.clouds import client_of, eventually, settings_for
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.guarded import Guarded
from tests.cloud_service.job_requests import ASYNC, EXAMPLES, REQUEST, job_of, started

pytestmark = pytest.mark.usefixtures("quick_jobs")


async def test_job_that_fails_says_why(http: httpx2.AsyncClient) -> None:
    examples = [*EXAMPLES, {"input": "CRASH", "output": "x"}]
    job = await job_of(http, await started(http, REQUEST | {"examples": examples}), "failed")
    assert (job["error"]["code"], job["result"]) == ("refine_failed", None)
    assert "CRASH" not in job["error"]["message"]


async def test_job_has_a_deadline(tmp_path: Path, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path, job_deadline_seconds=0.3)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        generator.tuner_gate.clear()
        job = await job_of(http, await started(http), "failed")
        assert job["error"]["code"] == "deadline_exceeded"
        # The next one can run.
        generator.tuner_gate.set()
        await job_of(http, await started(http), "done")


async def test_full_queue_refuses_jobs_at_once(tmp_path: Path, generator: FakeGenerator) -> None:
    async with open_cloud(settings_for(tmp_path, refine_max_queue=1), [generator]) as cloud, client_of(cloud) as http:
        generator.tuner_gate.clear()
        job_id = await started(http)
        for headers in (ASYNC, {}):
            refused = await http.post("/generate-lora", json=REQUEST | {"description": "Two."}, headers=headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
            assert int(refused.headers["retry-after"]) >= 1
        assert "loragen_cloud_refining 1.0" in (await http.get("/metrics")).text
        assert (await http.post("/generate-lora", json={"description": "Plain."})).status_code == 200
        generator.tuner_gate.set()
        await job_of(http, job_id, "done")
        assert "loragen_cloud_refining 0.0" in (await http.get("/metrics")).text


async def test_store_that_is_full_of_jobs_that_go_on_takes_no_other(
    cloud: Cloud, http: httpx2.AsyncClient, generator: FakeGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud.jobs._store, "_most", 1)
    generator.tuner_gate.clear()
    job_id = await started(http)
    refused = await http.post("/generate-lora", json=REQUEST | {"description": "Two."}, headers=ASYNC)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert "loragen_cloud_refining 1.0" in (await http.get("/metrics")).text, "its place in the queue is free again"
    generator.tuner_gate.set()
    await job_of(http, job_id, "done")
    await job_of(http, await started(http, REQUEST | {"description": "Two."}), "done")


async def test_job_ends_with_the_key_that_asked_for_it(guarded: Guarded, generator: FakeGenerator) -> None:
    generator.tuner_gate.clear()
    keys, reader = guarded.cloud.access.keys, await guarded.key(Scope.READ)
    ids = []
    for number in range(2):
        token, key = await keys.create(KeyRequest("test", (Scope.GENERATE,)))
        header = {"authorization": f"Bearer {token}"}
        request = REQUEST | {"description": f"Write {number}."}
        response = await guarded.http.post("/generate-lora", json=request, headers=header | ASYNC)
        ids.append(response.json()["id"])
        await keys.revoke(key.id)
    await guarded.cloud.access.revocation.look()
    await eventually(lambda: not guarded.cloud.jobs._live)
    for job_id in ids:  # the one that ran, and the one that waited
        job = (await guarded.http.get(f"/jobs/{job_id}", headers=reader)).json()
        assert (job["state"], job["error"]["code"]) == ("failed", "invalid_api_key")
    generator.tuner_gate.set()


async def test_shutdown_fails_jobs_with_a_reason_that_a_restart_shows(tmp_path: Path, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        generator.tuner_gate.clear()
        ids = [await started(http)]
        await job_of(http, ids[0], "running")
        ids.append(await started(http, REQUEST | {"description": "Write more."}))
    generator.tuner_gate.set()
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        for job_id in ids:
            job = (await http.get(f"/jobs/{job_id}")).json()
            assert (job["state"], job["error"]["code"]) == ("failed", "interrupted")


@pytest_asyncio.fixture
async def lost(cloud: Cloud, http: httpx2.AsyncClient, generator: FakeGenerator) -> AsyncIterator[str]:
    """A job whose replica is gone: nothing works on it, and nothing has changed it for minutes."""
    job_id = await started(http)
    job = await job_of(http, job_id, "done")
    stored = await cloud.jobs._store.load_job(job_id)
    assert stored is not None
    past = (datetime.now(UTC) - timedelta(minutes=2)).isoformat()
    left = jobs.Job.model_validate(job | {"state": "running", "result": None, "changed_at": past})
    assert await cloud.jobs._store.swap_job(jobs._stored(left, stored.version + 1, ""))
    yield job_id


async def test_job_of_a_replica_that_is_gone_is_interrupted(http: httpx2.AsyncClient, lost: str) -> None:
    listed = (await http.get("/jobs")).json()["jobs"]
    assert [(job["id"], job["state"]) for job in listed] == [(lost, "failed")]
    job = (await http.get(f"/jobs/{lost}")).json()
    assert (job["state"], job["error"]["code"]) == ("failed", "interrupted")
    assert (await http.get(f"/jobs/{lost}")).json() == job


async def test_lost_job_is_not_cancelled_but_failed(http: httpx2.AsyncClient, lost: str) -> None:
    assert (await http.delete(f"/jobs/{lost}")).json()["error"]["code"] == "interrupted"


async def test_cancellation_by_another_replica_ends_the_work(
    tmp_path: Path, cloud: Cloud, http: httpx2.AsyncClient, generator: FakeGenerator
) -> None:
    (tmp_path / "other").mkdir()
    other = FakeGenerator(tmp_path / "other")
    async with open_cloud(settings_for(tmp_path), [other]) as second, client_of(second) as elsewhere:
        generator.tuner_gate.clear()
        job_id = await started(http)
        await job_of(elsewhere, job_id, "running")
        assert (await elsewhere.delete(f"/jobs/{job_id}")).json()["state"] == "cancelled"
        generator.tuner_gate.set()
        await eventually(lambda: not cloud.jobs._live)
        assert (await http.get(f"/jobs/{job_id}")).json()["state"] == "cancelled"
