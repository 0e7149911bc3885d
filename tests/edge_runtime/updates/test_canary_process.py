"""The process of a trial: what it is asked, what it may take, and that it ends with its device."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from edge_runtime.errors import CanaryUnfinishedError, UpdateError
from edge_runtime.updates.canary import ProcessCanary
from edge_runtime.updates.canary_process import TrialRequest, offer_to_end, parse_request
from edge_runtime.updates.trial import Candidate

ANY = Candidate(Path("model.gguf"), Path("adapter.gguf"), Path("base.gguf"))


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
