"""Waiting for a job, in both clients; and where the API key comes from."""

from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from loragen import AsyncCloudClient, CloudClient, RemoteError
from loragen.client.errors import WaitError
from loragen.cloud_answers import Job, JobProgress
from tests.loragen.client.scripted import Scripted

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _job(state: str, **fields: Any) -> httpx2.Response:
    progress = JobProgress(done=3, total=9)
    job = Job(id="j", state=state, generator="g", created_at=NOW, changed_at=NOW, deadline_at=NOW, progress=progress)
    return httpx2.Response(200, json=job.model_dump(mode="json") | fields)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loragen.client.cloud.JOB_POLL_SECONDS", 0)


async def test_wait_asks_until_the_job_is_over_and_shows_each_answer() -> None:
    failed = _job("failed", error={"code": "refine_failed", "message": "it went wrong", "hint": "look"})
    answers, expected = (_job("queued"), _job("running"), failed), ["queued", "running", "failed"]
    seen: list[str] = []
    with CloudClient("http://cloud", transport=Scripted(*answers)) as cloud:
        with pytest.raises(RemoteError, match="job j: it went wrong") as refused:
            cloud.wait_for_job("j", on_progress=lambda job: seen.append(job.state))
        assert (refused.value.code, refused.value.hint, seen) == ("refine_failed", "look", expected)
    seen.clear()
    async with AsyncCloudClient("http://cloud", transport=Scripted(*answers)) as waiting:
        with pytest.raises(RemoteError, match="job j: it went wrong"):
            await waiting.wait_for_job("j", on_progress=lambda job: seen.append(job.state))
        assert seen == expected


async def test_wait_that_runs_out_says_how_far_the_job_came() -> None:
    message = "job j is running when the wait is over, 3 of 9 steps"
    transport = Scripted(_job("running"))
    with CloudClient("http://cloud", transport=transport) as cloud, pytest.raises(WaitError, match=message):
        cloud.wait_for_job("j", timeout_seconds=0)
    async with AsyncCloudClient("http://cloud", transport=Scripted(_job("running"))) as waiting:
        with pytest.raises(WaitError, match=message):
            await waiting.wait_for_job("j", timeout_seconds=0)


def test_api_key_is_the_one_given_or_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_API_KEY", "of-the-environment")
    for given, expected in ((None, "of-the-environment"), ("given", "given")):
        transport = Scripted(_job("done"))
        with CloudClient("http://cloud", api_key=given, transport=transport) as cloud:
            cloud.job("j")
        assert transport.requests[0].headers["authorization"] == f"Bearer {expected}"
