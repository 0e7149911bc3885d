"""`loragen jobs` against a running service, and how `generate --refine` waits for its own job."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cloud_service.commands.jobs import describe_refinement, wait_with_bar
from loragen import AsyncCloudClient, CloudClient
from loragen.cloud_answers import HeldOutScore, Refinement
from tests.cloud_service.commands.command_line import loragen
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.test_server import running

TASK = {"description": "Write.", "examples": [{"input": f"{n}", "output": f"out {n}"} for n in range(8)]}


async def test_job_is_listed_shown_and_cancelled(tmp_path: Path, generator: FakeGenerator) -> None:
    async with running(tmp_path, generator) as process, AsyncCloudClient(process.url) as cloud:

        async def output(*arguments: object, code: int = 0) -> str:
            outcome = await loragen("jobs", *arguments, "--url", process.url)
            assert outcome.exit_code == code, outcome.output
            return outcome.output

        done = await cloud.start_job(TASK, refine={"steps": 20})
        await cloud.wait_for_job(done.id)
        generator.tuner_gate.clear()
        running_job = await cloud.start_job(TASK | {"description": "Write more."}, refine={"steps": 20})
        listed = await output("list")
        assert f"{done.id}  done       4/4" in listed
        assert listed.index(running_job.id) < listed.index(done.id), "the most recent first"
        lines = (await output("list", "--json", "--limit", 1)).splitlines()
        assert [json.loads(line)["id"] for line in lines if line.startswith("{")] == [running_job.id]
        assert '"tuned": "gates"' in await output("show", done.id)
        assert f"{running_job.id} is cancelled" in await output("cancel", running_job.id)
        assert f"{done.id} is done" in await output("cancel", done.id)
        assert '"state": "done"' in await output("cancel", done.id, "--json")
        assert "job_not_found" in await output("show", "0" * 32, code=1)
        generator.tuner_gate.set()


def test_wait_that_is_interrupted_says_how_to_end_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(job_id: str, on_progress: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait_with_bar(cast(CloudClient, SimpleNamespace(wait_for_job=interrupted)), "abc")
    assert "loragen jobs cancel abc ends it" in capsys.readouterr().err


def test_refinement_without_a_gain_says_what_stays() -> None:
    score = HeldOutScore(right=0.25, loss=2)
    ended: dict[str, Any] = {"steps": 3, "seconds": 1, "stopped": "budget"}
    found = Refinement(tuned="keys", kept=False, examples=8, held_out=6, before=score, after=score, **ended)
    line = describe_refinement(found)
    assert "right 25% -> 25%" in line
    assert "no gain, so the one-pass LoRA stays" in line
    assert "ended by budget" in line
