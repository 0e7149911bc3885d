"""Jobs, for people."""

import asyncio

import httpx2

from cloud_service.access.scopes import Scope
from cloud_service.bootstrap import Cloud
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.guarded import Guarded
from tests.cloud_service.http.console.page_reader import Page
from tests.cloud_service.http.console.people import signed_in

FORM = {
    "description": "Sort the mail.",
    "examples": "\n".join(f"mail {number} => answer {number}" for number in range(6)),
    "refine": "yes",
    "budget_seconds": "90",
}


async def _until(http: httpx2.AsyncClient, path: str, text: str) -> str:
    for _ in range(500):
        page = (await http.get(path)).text
        if text in page:
            return page
        await asyncio.sleep(0.02)
    raise AssertionError(f"{text!r} never stood on {path}")


async def test_refinement_is_watched_from_its_start_to_its_result(
    http: httpx2.AsyncClient, generator: FakeGenerator
) -> None:
    assert "There is no job." in (await http.get("/console/jobs")).text
    generator.tuner_gate.clear()
    started = await http.post("/console/generate", data=FORM)
    assert started.status_code == 303
    path = started.headers["location"]
    running = await _until(http, path, "of at most 4 steps")
    assert 'data-live="2"' in running
    assert not Page(running).faults
    assert 'data-live="3"' in (await http.get("/console/jobs")).text
    generator.tuner_gate.set()
    done = await _until(http, path, '<h2 id="result">')
    assert "data-live" not in done
    assert "examples held out" in done
    assert not Page(done).faults
    assert "data-live" not in (await http.get("/console/jobs")).text


async def test_job_is_cancelled(http: httpx2.AsyncClient, generator: FakeGenerator) -> None:
    generator.tuner_gate.clear()
    path = (await http.post("/console/generate", data=FORM)).headers["location"]
    await _until(http, path, "of at most 4 steps")
    cancelled = await http.post(path)
    assert "The job is cancelled." in cancelled.text
    assert "Cancel</button>" not in cancelled.text
    generator.tuner_gate.set()
    assert '<span class="state cancelled">' in (await http.get(path)).text


async def test_failed_job_says_why(http: httpx2.AsyncClient) -> None:
    form = FORM | {"examples": f"{FORM['examples']}\nCRASH => x"}
    path = (await http.post("/console/generate", data=form)).headers["location"]
    page = await _until(http, path, '<span class="state failed">')
    assert 'class="warning"' in page
    assert not Page(page).faults


async def test_result_of_a_job_outlives_its_recipe(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    path = (await http.post("/console/generate", data=FORM)).headers["location"]
    await _until(http, path, '<h2 id="result">')
    from cloud_service.artifacts import unknown_recipe

    async def gone(recipe_id: str) -> bytes:
        raise unknown_recipe(recipe_id)

    cloud.service.artifacts.fetch_recipe = gone  # type: ignore[method-assign]
    assert (await http.get(path)).status_code == 200


async def test_reader_sees_jobs_and_cancels_none(guarded: Guarded) -> None:
    async with signed_in(guarded, Scope.READ, Scope.GENERATE) as person, signed_in(guarded, Scope.READ) as reader:
        path = (await person.post("/console/generate", data=FORM)).headers["location"]
        assert (await reader.get(path)).status_code == 200
        assert (await reader.post(path)).status_code == 403
        assert path in (await reader.get("/console/jobs")).text
