"""Refinement over HTTP: at once, and as a job that can be watched, cancelled, and that ends whatever happens."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from cloud_service.access.scopes import Scope
from cloud_service.bootstrap import open_cloud
from cloud_service.limits import MAX_EXAMPLES, MAX_REFINE_EXAMPLES, MAX_REFINE_STEPS
from loragen.contract.bundle import content_id
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import PROBE, FakeGenerator
from tests.cloud_service.guarded import Guarded
from tests.cloud_service.job_requests import ASYNC, EXAMPLES, REQUEST, job_of, started

pytestmark = pytest.mark.usefixtures("quick_jobs")


async def test_refined_answer_has_scores_and_is_the_bundle_that_is_served(http: httpx2.AsyncClient) -> None:
    response = await http.post("/generate-lora", json=REQUEST | {"publish": {"channel": "kitchen", "name": "mails"}})
    answer = response.json()
    assert response.status_code == 200
    assert answer["refinement"] == {
        "tuned": "gates",
        "kept": True,
        "examples": 8,
        "held_out": 6,
        "before": {"right": 0.25, "loss": 2.0},
        "after": {"right": 0.75, "loss": 0.5},
        "steps": 4,
        "seconds": 0.125,
        "stopped": "steps",
    }
    bundle = (await http.get(answer["links"]["bundle"])).content
    assert content_id(bundle) == answer["id"]
    channel = (await http.get("/channels/kitchen")).json()
    assert channel["specializations"][0]["bundle_id"] == answer["id"]
    octets = await http.post("/generate-lora", json=REQUEST, headers={"accept": "application/octet-stream"})
    assert octets.content == bundle
    assert "refinement" not in (await http.post("/generate-lora", json={"description": "Write."})).json()


async def test_job_leads_to_the_same_answer(http: httpx2.AsyncClient) -> None:
    request = REQUEST | {"probe": PROBE, "publish": {"channel": "kitchen", "name": "mails"}, "include": ["gates"]}
    response = await http.post("/generate-lora", json=request, headers=ASYNC)
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/jobs/{job['id']}"
    assert response.headers["preference-applied"] == "respond-async"
    assert int(response.headers["retry-after"]) >= 1
    assert (job["state"], job["progress"], job["generator"]) == ("queued", {"done": 0, "total": 0}, "fake")
    done = await job_of(http, job["id"], "done")
    assert done["error"] is None
    result = done["result"]
    at_once = (await http.post("/generate-lora", json=request)).json()
    for field in ("id", "recipe_id", "refinement", "probe", "links", "answer"):
        assert result[field] == at_once[field], field
    assert "gates" not in result
    assert "retry-after" not in (await http.get(f"/jobs/{job['id']}")).headers
    assert (await http.delete(f"/jobs/{job['id']}")).json() == done


async def test_preference_without_refine_is_not_followed(http: httpx2.AsyncClient) -> None:
    response = await http.post("/generate-lora", json={"description": "Write."}, headers=ASYNC)
    assert response.status_code == 200
    assert "preference-applied" not in response.headers


async def test_progress_is_shown_and_a_running_job_is_cancelled(
    http: httpx2.AsyncClient, generator: FakeGenerator
) -> None:
    generator.tuner_gate.clear()
    job_id = await started(http)
    running = await job_of(http, job_id, "running")
    assert running["progress"] == {"done": 0, "total": 4}
    assert "retry-after" in (await http.get(f"/jobs/{job_id}")).headers
    cancelled = (await http.delete(f"/jobs/{job_id}")).json()
    assert cancelled["state"] == "cancelled"
    # Its place is free and its thread too, though the gate is closed.
    other = await started(http, REQUEST | {"description": "Write more."})
    assert (await job_of(http, other, "running"))["state"] == "running"
    generator.tuner_gate.set()
    assert (await job_of(http, other, "done"))["result"]["refinement"]["kept"]
    assert (await http.get(f"/jobs/{job_id}")).json() == cancelled


async def test_waiting_job_is_cancelled_and_the_listing_goes_by_time(
    http: httpx2.AsyncClient, generator: FakeGenerator
) -> None:
    generator.tuner_gate.clear()
    ids = [await started(http)]
    await job_of(http, ids[0], "running")
    ids += [await started(http, REQUEST | {"description": f"Write {number}."}) for number in range(2)]
    assert (await http.delete(f"/jobs/{ids[2]}")).json()["state"] == "cancelled"
    listed = (await http.get("/jobs?limit=2")).json()
    assert [job["id"] for job in listed["jobs"]] == [ids[2], ids[1]]
    assert [job["state"] for job in listed["jobs"]] == ["cancelled", "queued"]
    rest = (await http.get(f"/jobs?before={listed['next_before']}")).json()
    assert ([job["id"] for job in rest["jobs"]], rest["next_before"]) == ([ids[0]], None)
    generator.tuner_gate.set()
    for job_id in ids[:2]:
        await job_of(http, job_id, "done")
    assert (await http.get(f"/jobs/{ids[2]}")).json()["state"] == "cancelled"


async def test_job_is_seen_and_cancelled_by_its_tenant_alone(guarded: Guarded, generator: FakeGenerator) -> None:
    generator.tuner_gate.clear()
    own = await guarded.key(Scope.GENERATE, tenant="acme")
    started = await guarded.http.post("/generate-lora", json=REQUEST, headers=own | ASYNC)
    assert started.status_code == 202, started.text
    path = started.headers["location"]
    other = await guarded.key(Scope.GENERATE, Scope.READ, tenant="other")
    for method in ("GET", "DELETE"):
        refused = await guarded.http.request(method, path, headers=other)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "job_not_found")
    assert (await guarded.http.get("/jobs", headers=other)).json()["jobs"] == []
    for key in (own, await guarded.key(Scope.READ, tenant="acme"), await guarded.key(Scope.READ)):
        assert [f"/jobs/{job['id']}" for job in (await guarded.http.get("/jobs", headers=key)).json()["jobs"]] == [path]
        assert (await guarded.http.get(path, headers=key)).status_code == 200
    assert (await guarded.http.delete(path, headers=own)).json()["state"] == "cancelled"
    generator.tuner_gate.set()


async def test_quota_is_reported_when_a_job_is_asked_for(tmp_path: Path, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path, authentication="keys", refinements_per_day=1)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        key = await Guarded(cloud, http).key(Scope.GENERATE)
        first = await http.post("/generate-lora", json=REQUEST, headers=key)
        assert first.status_code == 200
        cached = await http.post("/generate-lora", json=REQUEST, headers=key)
        assert cached.json()["cached"], "what the store has costs nothing"
        for headers in ({}, ASYNC):
            request = REQUEST | {"description": "Two."}
            refused = await http.post("/generate-lora", json=request, headers=key | headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "quota_used_up")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"examples": EXAMPLES[:3]}, "examples: expected at least 4 different inputs"),
        ({"examples": [*EXAMPLES, {"input": "w " * 2000, "output": "x"}]}, "examples.8: expected at most 1024 tokens"),
        ({"examples": EXAMPLES * (MAX_REFINE_EXAMPLES // 8 + 1)}, f"{MAX_REFINE_EXAMPLES} items"),
        ({"refine": None, "examples": EXAMPLES * (MAX_EXAMPLES // 8 + 1)}, f"at most {MAX_EXAMPLES} items without"),
        ({"refine": {"steps": 0}}, "refine.steps"),
        ({"refine": {"steps": MAX_REFINE_STEPS + 1}}, "refine.steps"),
        ({"refine": {"steps": 1.5}}, "refine.steps"),
        ({"refine": {"budget_seconds": 0.5}}, "refine.budget_seconds"),
        ({"refine": {"budget_seconds": 1e9}}, "refine.budget_seconds: expected at most 6"),
        ({"refine": {"budget_seconds": "30"}}, "refine.budget_seconds"),
        ({"refine": {"from": "description"}}, "refine.from"),
        ({"refine": True}, "refine"),
        ({"publish": {"channel": "c", "name": "base"}}, "publish.name"),
        (
            {"answer": {"type": "choice", "choices": ["a", "b"]}},
            "examples.0.output: expected one of the choices",
        ),
    ],
)
async def test_bad_input_is_refused_with_field_and_reason_also_as_a_job(
    http: httpx2.AsyncClient, generator: FakeGenerator, changes: dict[str, Any], message: str
) -> None:
    for headers in ({}, ASYNC):
        response = await http.post("/generate-lora", json=REQUEST | changes, headers=headers)
        assert response.status_code == 422
        assert message in response.json()["error"]["message"]
    assert generator.prompts == []
    assert (await http.get("/jobs")).json()["jobs"] == []


async def test_long_budget_needs_a_job(http: httpx2.AsyncClient) -> None:
    request = REQUEST | {"refine": {"budget_seconds": 61}}
    refused = await http.post("/generate-lora", json=request)
    assert refused.status_code == 422
    assert "refine.budget_seconds: expected at most 60 without Prefer" in refused.json()["error"]["message"]
    await job_of(http, await started(http, request), "done")


async def test_service_that_does_not_refine_says_so(tmp_path: Path, generator: FakeGenerator) -> None:
    async with open_cloud(settings_for(tmp_path, refine=False), [generator]) as cloud, client_of(cloud) as http:
        for headers in ({}, ASYNC):
            refused = await http.post("/generate-lora", json=REQUEST, headers=headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (422, "refine_disabled")
            assert "LORAGEN_CLOUD_REFINE" in refused.json()["error"]["hint"]
        assert generator.prompts == []


@pytest.mark.parametrize(("job_id", "status"), [("0" * 32, 404), ("..", 404), ("x" * 32, 422), ("0" * 33, 422)])
async def test_unknown_job_is_refused(http: httpx2.AsyncClient, job_id: str, status: int) -> None:
    for method in ("GET", "DELETE"):
        response = await http.request(method, f"/jobs/{job_id}")
        assert response.status_code == status
        if status == 404 and job_id != "..":
            assert response.json()["error"]["code"] == "job_not_found"
