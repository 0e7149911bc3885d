"""A candidate that ends its process, hangs, floods or takes all memory ends the canary, never the device."""

import asyncio
import signal
import sys
import time
from pathlib import Path

import pytest

from edge_runtime.errors import CanaryError, CanaryUnfinishedError, UpdateError
from edge_runtime.updates.canary import ProcessCanary
from edge_runtime.updates.canary_process import TrialRequest, offer_to_end, parse_request
from edge_runtime.updates.reading import reading_seconds
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
async def test_child_that_ends_otherwise_is_told_by_how_it_ended(
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


def test_each_file_counts_as_often_as_it_is_loaded(tmp_path: Path) -> None:
    base, merged, adapter = (tmp_path / name for name in ("base", "merged", "adapter"))
    for path, megabytes in ((base, 50), (merged, 30), (adapter, 10)):
        path.write_bytes(bytes(megabytes * 100_000))
    assert reading_seconds(Candidate(base, adapter, base).loaded) == pytest.approx(2 * (5 + 5 + 1) / 10)
    assert reading_seconds(Candidate(merged, None, base, adapter).loaded) == pytest.approx(2 * (5 + 3 + 5 + 1) / 10)
    assert reading_seconds(ANY.loaded) == 0


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


def test_request_comes_over_as_it_is() -> None:
    request = TrialRequest(ANY, threads=2, memory_bytes=1 << 20)
    assert parse_request(request.encode()) == request


async def test_real_child_tries_real_files(base_gguf: Path, tmp_path: Path) -> None:
    """Sound, refused by llama.cpp, and with less memory than it takes."""
    report = await ProcessCanary(1).verify(Candidate(base_gguf, None, base_gguf))
    assert report.loss == report.base_loss > 0
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(base_gguf.read_bytes()[:20_000])  # noqa: ASYNC240
    with pytest.raises(CanaryUnfinishedError, match=r"llama\.cpp cannot load damaged\.gguf"):
        await ProcessCanary(1).verify(Candidate(damaged, None, base_gguf))
    if sys.platform == "linux":
        with pytest.raises(UpdateError):
            await ProcessCanary(1, limit_bytes=24 << 20).verify(Candidate(base_gguf, None, base_gguf))


def test_child_is_the_first_to_go_when_memory_runs_out(tmp_path: Path) -> None:
    """Else the system would end the largest process, which is the device."""
    (tmp_path / "oom_score_adj").write_text("0")
    offer_to_end(tmp_path)
    assert (tmp_path / "oom_score_adj").read_text() == "1000"
    offer_to_end(tmp_path / "none")


async def test_child_ends_with_its_device() -> None:
    """However the device ends: the child reads until its standard input does."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys, threading, time\n"
        "from edge_runtime.updates.canary_process import _end_with\n"
        "threading.Thread(target=_end_with, args=(sys.stdin.buffer,), daemon=True).start()\n"
        "print('up', flush=True)\n"
        "time.sleep(60)",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        assert await child.stdout.readline() == b"up\n"
        child.stdin.close()
        assert await asyncio.wait_for(child.wait(), 10) == 1
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGKILL)
