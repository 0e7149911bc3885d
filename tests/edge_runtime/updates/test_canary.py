"""A candidate that ends its process, hangs, floods or takes all memory ends the canary, never the device."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from edge_runtime.errors import CanaryError, CanaryUnfinishedError, UpdateError
from edge_runtime.updates import canary as module
from edge_runtime.updates.canary import ProcessCanary, waited_seconds
from edge_runtime.updates.trial import Candidate, TrialReport
from tests.edge_runtime.fakes import eventually

ANY = Candidate(Path("model.gguf"), Path("adapter.gguf"), Path("base.gguf"))
REPORT = '{"report": {"loss": 2.0, "base_loss": 1.5, "agreement": null}}'


def canary(script: str, limit_seconds: float = 20.0) -> ProcessCanary:
    return ProcessCanary(1, limit_seconds, command=(sys.executable, "-c", script))


async def test_report_of_the_child_comes_back() -> None:
    assert await canary(f"print('{REPORT}')").verify(ANY) == TrialReport(2.0, 1.5)


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("import os; os.abort()", CanaryError, "SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", CanaryError, "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", CanaryUnfinishedError, "SIGKILL"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", CanaryUnfinishedError, "SIGTERM"),
        ("raise SystemExit('no module')", CanaryUnfinishedError, "no module"),
        ("print('no report')", CanaryUnfinishedError, "ended with 0"),
        ("print('x' * 1_000_000)", CanaryUnfinishedError, "ended with"),
        ("import sys; sys.stderr.write('y' * 5_000_000)", CanaryUnfinishedError, "yyy"),
        ("pass", CanaryUnfinishedError, "ended with 0"),
    ],
)
async def test_child_that_ends_otherwise_is_reported_by_how_it_ended(
    script: str, error: type[UpdateError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        await canary(script).verify(ANY)
    assert len(str(caught.value)) < 600


async def test_refusal_keeps_its_code_and_says_whether_it_is_for_good() -> None:
    said = '{{"code": "some_code", "message": "it is odd", "hint": "look", "permanent": {}}}'
    with pytest.raises(CanaryError, match=r"adapter\.gguf: it is odd") as caught:
        await canary(f"print('{said.format('true')}')").verify(ANY)
    assert (caught.value.code, caught.value.hint) == ("some_code", "look")
    with pytest.raises(CanaryUnfinishedError, match="it is odd"):
        await canary(f"print('{said.format('false')}')").verify(ANY)


async def test_child_that_hangs_is_killed_at_the_deadline() -> None:
    started = time.monotonic()
    with pytest.raises(CanaryUnfinishedError, match=r"within 0\.5 s"):
        await canary("import time; time.sleep(60)", 0.5).verify(ANY)
    assert time.monotonic() - started < 10


async def test_large_files_give_the_child_more_time(tmp_path: Path) -> None:
    """A slow disk takes minutes for some gigabytes; that is no hang, and would be the same at each attempt."""
    model = tmp_path / "model.gguf"
    with model.open("wb") as file:
        file.truncate(5 * 10**9)
    slow = f"import time; time.sleep(1); print('{REPORT}')"
    assert await canary(slow, 0.2).verify(Candidate(model, None, model)) == TrialReport(2.0, 1.5)
    with pytest.raises(CanaryUnfinishedError, match=r"within 0\.2 s"):
        await canary(slow, 0.2).verify(ANY)


async def test_child_that_waits_for_a_processor_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a busy device refuses a good bundle for good, after some trials that came to no end."""
    slow = f"import time; time.sleep(1); print('{REPORT}')"
    monkeypatch.setattr(module, "waited_seconds", lambda _process: 60.0)
    assert await canary(slow, 0.2).verify(ANY) == TrialReport(2.0, 1.5)
    monkeypatch.setattr(module, "MOST_WAITED_SECONDS", 0.3)
    with pytest.raises(CanaryUnfinishedError, match=r"within 0\.2 s"):
        await canary(slow, 0.2).verify(ANY)


def test_thread_that_waited_longest_for_a_processor_counts(tmp_path: Path) -> None:
    for thread, text in (("7", "5 1500000000 3\n"), ("8", "5 2500000000 3\n"), ("9", "")):
        (tmp_path / "7/task" / thread).mkdir(parents=True)
        (tmp_path / "7/task" / thread / "schedstat").write_text(text)
    assert waited_seconds(7, tmp_path) == 2.5
    assert waited_seconds(8, tmp_path) == 0.0
    assert waited_seconds(os.getpid()) >= 0.0


async def test_stopping_ends_what_is_tried(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    tried = canary(f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(60)")
    trying = asyncio.create_task(tried.verify(ANY))
    await eventually(ready.exists)
    tried.stop()
    with pytest.raises(CanaryUnfinishedError):
        await trying
    with pytest.raises(CanaryUnfinishedError, match="shutting down"):
        await tried.verify(ANY)


async def test_program_that_is_missing_is_no_fault_of_the_candidate() -> None:
    with pytest.raises(CanaryUnfinishedError, match="cannot be started"):
        await ProcessCanary(1, command=("/no/such/program",)).verify(ANY)
