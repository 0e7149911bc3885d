"""`python -m edge_runtime.updates.canary_process`: one trial, in a process that a broken model may end.

It reads one line of JSON, the candidate and the limits, and writes one, the report or the error. It takes no more
memory than it was given, shares the pages of the model's file with the device instead of copying them, and ends when
its standard input does, as when the device is killed. Who asks, and what an error means, is in `updates.canary`.
"""

import json
import os
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edge_runtime.errors import AnswerContractError, CanaryError, EdgeError, ModelOutputError
from edge_runtime.updates.trial import CONTEXT_TOKENS, Candidate, try_candidate

_REFUSALS = (CanaryError, AnswerContractError, ModelOutputError)
"""What the same files would do again. A file that cannot be loaded may load when there is more memory."""

_NICENESS = 10
"""What serves comes first."""


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """One trial.

    Attributes:
        threads: Threads that compute.
        memory_bytes: Most memory beside the pages of mapped files, where the system can limit it.
    """

    candidate: Candidate
    threads: int
    memory_bytes: int

    def encode(self) -> bytes:
        """As one line."""
        return json.dumps(asdict(self), default=os.fspath).encode() + b"\n"


def parse_request(line: bytes) -> TrialRequest:
    """What `TrialRequest.encode` made."""
    found = json.loads(line)
    paths: dict[str, Any] = {key: path and Path(path) for key, path in found.pop("candidate").items()}
    return TrialRequest(candidate=Candidate(**paths), **found)


def run_trial(request: TrialRequest) -> dict[str, Any]:
    """Carry a trial out with llama.cpp; its report, or what the error is called."""
    from edge_runtime.serving.llama import LlamaLoader

    loader = LlamaLoader(CONTEXT_TOKENS, request.threads, repack=False)
    try:
        return {"report": asdict(try_candidate(loader, request.candidate))}
    except EdgeError as error:
        return {
            "code": error.code,
            "message": str(error),
            "hint": error.hint,
            "permanent": isinstance(error, _REFUSALS),
        }


def limit_memory(memory_bytes: int) -> None:
    """Let allocations beyond `memory_bytes` fail; pages of files that are mapped do not count."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard in (resource.RLIM_INFINITY, -1) or hard > memory_bytes:
            resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def offer_to_end(proc: Path = Path("/proc/self")) -> None:
    """Let the system end this process before the device's, when memory runs out."""
    with suppress(OSError):
        (proc / "oom_score_adj").write_text("1000")


def _end_with(stream: BinaryIO) -> None:
    stream.read()
    os._exit(1)


def main() -> None:
    """Answer one request."""
    request = parse_request(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with, args=(sys.stdin.buffer,), daemon=True).start()
    with suppress(OSError):
        os.nice(_NICENESS)
    offer_to_end()
    limit_memory(request.memory_bytes)
    answer = run_trial(request)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    # Without the interpreter's end: the thread above still holds the stream.
    os._exit(0)


if __name__ == "__main__":
    main()
