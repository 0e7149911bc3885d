"""The canary: what never served is tried in a process of its own first, with a deadline and a limit of memory.

A file from a network can make llama.cpp end its process, or take all memory. Then the canary's process ends, and the
device reports it and serves on. What a candidate must show is in `updates.trial`.
"""

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from edge_runtime.errors import CanaryError, CanaryUnfinishedError, EdgeError
from edge_runtime.updates.canary_process import TrialRequest
from edge_runtime.updates.reading import reading_seconds, size_of
from edge_runtime.updates.trial import Candidate, TrialReport

CANARY_SECONDS = 120.0
"""For one trial, beside the time that its files take to be read, and that it waits for a processor."""

MOST_WAITED_SECONDS = 1_200.0
"""For a processor. Requests come first: on a device that answers all the time, a trial gets a few per cent of it."""

CANARY_BYTES = 512 * 1024**2
"""For one trial, beside mapped files and adapters; llama.cpp takes 60 MB for SmolLM2, and 200 MB where the vocabulary
has 150,000 tokens."""

_COMMAND = (sys.executable, "-m", "edge_runtime.updates.canary_process")

_MAX_BYTES = 16_384
"""Of what a child says; the rest is dropped."""

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""numpy's own threads have nothing to do in a trial, and each of them reserves memory."""


class Canary(Protocol):
    """Tries what is to serve."""

    async def verify(self, candidate: Candidate) -> TrialReport:
        """Try a candidate.

        Raises:
            CanaryError: It must not serve; the same files would fail again.
            CanaryUnfinishedError: The trial did not come to an end.
        """
        ...

    def stop(self) -> None:
        """End what is being tried, and try nothing more."""
        ...


class ProcessCanary:
    """A canary whose trials run in child processes, one for each.

    Args:
        threads: Threads that compute.
        limit_seconds: As `CANARY_SECONDS`.
        limit_bytes: As `CANARY_BYTES`.
        command: Starts the child.
    """

    def __init__(
        self,
        threads: int,
        limit_seconds: float = CANARY_SECONDS,
        limit_bytes: int = CANARY_BYTES,
        command: Sequence[str] = _COMMAND,
    ) -> None:
        self._threads = threads
        self._limit_seconds = limit_seconds
        self._limit_bytes = limit_bytes
        self._command = command
        self._running: set[Process] = set()
        self._stopping = False

    async def verify(self, candidate: Candidate) -> TrialReport:
        if self._stopping:
            raise CanaryUnfinishedError("the device is shutting down")
        adapters = [path for path in (candidate.adapter, candidate.attached) if path is not None]
        sizes = await asyncio.to_thread(lambda: [size_of(path) for path in adapters])
        limit_seconds = self._limit_seconds + await asyncio.to_thread(reading_seconds, candidate.loaded)
        request = TrialRequest(candidate, self._threads, self._limit_bytes + 2 * sum(sizes))
        try:
            answer = await self._ask(request, limit_seconds)
        except TimeoutError as error:
            raise CanaryUnfinishedError(
                f"{candidate.model.name}: the canary did not end within {limit_seconds:g} s",
                "is the device overloaded?",
            ) from error
        except OSError as error:
            raise CanaryUnfinishedError(f"the canary cannot be started: {error.strerror or error}") from error
        return read_answer(candidate, answer)

    def stop(self) -> None:
        self._stopping = True
        for process in self._running:
            _kill(process)

    async def _ask(self, request: TrialRequest, limit_seconds: float) -> dict[str, Any]:
        environment = {**os.environ, **_ONE_THREAD}
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._running.add(process)
        # Both are read to their ends, whatever comes: a child that cannot write would not end.
        answering = asyncio.create_task(_read(process.stdout))
        saying = asyncio.create_task(_read(process.stderr))
        try:
            # Its standard input stays open: the child ends when it is closed, by this process or by its death.
            with suppress(ConnectionError):
                process.stdin.write(request.encode())
                await process.stdin.drain()
            code = await _ended(process, limit_seconds)
            return _parse(await answering) or _death(code, await saying)
        finally:
            self._running.discard(process)
            _kill(process)
            process.stdin.close()
            await process.wait()


async def _ended(process: Process, limit_seconds: float) -> int:
    """Wait for a child's end, for so long as it may do something.

    Raises:
        TimeoutError: It hangs.
    """
    started = time.monotonic()
    while True:
        waited = min(await asyncio.to_thread(waited_seconds, process.pid), MOST_WAITED_SECONDS)
        left = started + limit_seconds + waited - time.monotonic()
        if left <= 0:
            raise TimeoutError
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                return await process.wait()


def waited_seconds(process: int, proc: Path = Path("/proc")) -> float:
    """How long a process could have run, and others did: of its threads, the one that waited longest; 0 where unknown.

    Args:
        process: Its number.
        proc: Where the system tells of processes.
    """
    waited = [0]
    for thread in proc.glob(f"{process}/task/*/schedstat"):
        with suppress(OSError, ValueError, IndexError):
            waited.append(int(thread.read_text().split()[1]))
    return max(waited) / 1e9


_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}
"""What ends a process because of what it does; other signals come from outside, as when a device is stopped."""


async def _read(stream: asyncio.StreamReader) -> bytes:
    """The last bytes of what a child writes, as many as a report has."""
    last = b""
    while piece := await stream.read(_MAX_BYTES):
        last = (last + piece)[-_MAX_BYTES:]
    return last


def _parse(answer: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _death(code: int, said: bytes) -> dict[str, Any]:
    """What the end of a child that answered nothing means."""
    lines = said.decode("utf-8", "replace").splitlines()
    last = next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")
    killed = code == -signal.SIGKILL
    name = signal.Signals(-code).name if -code in {each.value for each in signal.Signals} else str(code)
    return {
        "code": "canary_failed" if -code in _CRASHES else "canary_unfinished",
        "message": f"the canary's process ended with {name}" + (f": {last}" if last else ""),
        "hint": "the system was out of memory?" if killed else "",
        # A crash comes back with the same bytes. What ended the process from outside, or before it read them, may not.
        "permanent": -code in _CRASHES,
    }


def read_answer(candidate: Candidate, answer: Mapping[str, Any]) -> TrialReport:
    """The report of a trial.

    Args:
        candidate: What was tried.
        answer: What `canary_process.run_trial` gave.

    Raises:
        CanaryError, CanaryUnfinishedError: It gave no report.
    """
    if "report" in answer:
        return TrialReport(**answer["report"])
    kind: type[EdgeError] = CanaryError if answer["permanent"] else CanaryUnfinishedError
    subject = (candidate.adapter or candidate.model).name
    raise kind(f"{subject}: {answer['message']}", answer["hint"], code=answer["code"])


def _kill(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
