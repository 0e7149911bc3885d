"""Jobs over the client, against the service itself."""

import pytest

from loragen import AsyncCloudClient, RemoteError
from loragen.client.errors import WaitError
from tests.cloud_service.fake_generator import FakeGenerator

REFINED = {"description": "Write.", "examples": [{"input": f"input {n}", "output": f"out {n}"} for n in range(8)]}


async def test_job_is_started_listed_waited_for_and_cancelled(
    cloud: AsyncCloudClient, generator: FakeGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loragen.client.cloud.JOB_POLL_SECONDS", 0.01)
    states: list[str] = []
    job = await cloud.start_job(REFINED, refine={"budget_seconds": 100}, publish="kitchen/mails")
    answer = await cloud.wait_for_job(job.id, on_progress=lambda job: states.append(job.state))
    assert states[-1] == "done"
    assert (await cloud.channel("kitchen")).specializations["mails"].bundle_id == answer.id
    assert (await cloud.job(job.id)).result == answer

    generator.tuner_gate.clear()
    other = await cloud.start_job({**REFINED, "description": "Write more."}, refine={})
    assert [each.id for each in (await cloud.jobs()).jobs] == [other.id, job.id]
    with pytest.raises(WaitError, match=f"job {other.id} is"):
        await cloud.wait_for_job(other.id, timeout_seconds=0.05)
    assert (await cloud.cancel_job(other.id)).state == "cancelled"
    generator.tuner_gate.set()
    with pytest.raises(RemoteError, match="is cancelled") as cancelled:
        await cloud.wait_for_job(other.id)
    assert cancelled.value.code == "cancelled"

    crash = [*REFINED["examples"], {"input": "CRASH", "output": "x"}]  # type: ignore[misc]
    failing = await cloud.start_job({**REFINED, "examples": crash}, refine={})
    with pytest.raises(RemoteError, match="the refinement failed") as failed:
        await cloud.wait_for_job(failing.id)
    assert failed.value.code == "refine_failed"
