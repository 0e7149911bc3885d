"""Helper: a device in a process of its own, in which one step of an update goes wrong.

The process is forked from a server that has imported everything, so that a start takes a fraction of a second. What
goes wrong is patched into the child; the product knows nothing of it.
"""

import asyncio
import importlib
import inspect
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import pytest

from edge_runtime import bootstrap
from edge_runtime.cloud import rpc  # noqa: F401  forked with the rest
from edge_runtime.config import EdgeSettings
from edge_runtime.serving import llama  # noqa: F401  forked with the rest
from edge_runtime.updates.canary import ProcessCanary
from edge_runtime.updates.trial import Candidate, TrialReport
from loragen.web.logs import configure_logging
from tests.edge_runtime.fakes import ThreadCanary
from tests.full_disk import full_disk, read_only_disk
from tests.small_disk import fill, make_read_only

Step = Literal[
    "poll", "verify", "download", "attach", "merge", "check", "activate", "commit", "report", "clean up", "restore"
]
Kind = Literal["exception", "kill before", "kill after", "hang", "disk full", "read only", "damage"]

_FULL_BYTES = 64
"""Longest file on a disk that is full."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Attributes:
        bundle_id: The step is meant where it concerns this bundle.
        fired: Grows by a byte each time it happens.
        disk: A real disk that it happens to; None pretends it.
    """

    step: Step
    kind: Kind
    bundle_id: str
    fired: Path
    disk: Path | None = None


def start_device(settings: dict[str, Any], fault: Fault | None, log: Path) -> multiprocessing.process.BaseProcess:
    """A device with these settings in a child process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_run, args=(settings, fault, str(log)), daemon=True)
    process.start()
    return process


def _run(settings: dict[str, Any], fault: Fault | None, log: str) -> None:
    sys.stdout = sys.stderr = Path(log).open("a", buffering=1)  # noqa: SIM115  until the process ends
    configure_logging("info", "json")
    patch = pytest.MonkeyPatch()
    patch.setattr("edge_runtime.bootstrap.ProcessCanary", lambda *_: ThreadCanary())
    patch.setattr("edge_runtime.cloud.rpc._REPORT_SECONDS", 0.3)
    if fault is not None:
        _inject(patch, fault)
    asyncio.run(bootstrap.run(EdgeSettings(**settings)))


def _inject(patch: pytest.MonkeyPatch, fault: Fault) -> None:
    if fault.step == "check" and fault.kind in _CHILDREN:
        patch.setattr("edge_runtime.bootstrap.ProcessCanary", lambda *_: _FaultyCanary(fault))
    elif fault.kind == "damage":
        target, name, concerns = _DAMAGED[fault.step]
        _wrap(patch, target, concerns(fault), after=lambda: _damage(fault, name))
    else:
        target, concerns = _STEPS[fault.step]
        if fault.kind == "kill after":
            _wrap(patch, target, concerns(fault), after=lambda: _kill(fault))
        elif fault.kind == "hang":
            _wrap(patch, target, concerns(fault), before=lambda: _note(fault), hang=True)
        else:
            _wrap(patch, target, concerns(fault), before=lambda: _BEFORE[fault.kind](fault))


def spoil(patch: pytest.MonkeyPatch, fault: Fault, before: Callable[[], None]) -> None:
    """Let `before` happen each time that the step begins, in this process."""
    target, concerns = _STEPS[fault.step]
    _wrap(patch, target, concerns(fault), before=before)


Call = Callable[..., bool]
"""Whether a call of the step, with these arguments, is the one that is meant."""


def _any(fault: Fault) -> Call:
    return lambda *_, **__: True


def _of_path(fault: Fault) -> Call:
    return lambda path: fault.bundle_id in str(path)


def _of_slot(fault: Fault) -> Call:
    return lambda _self, slot, *_, **__: slot.revision.bundle_id == fault.bundle_id


def _of_state(fault: Fault) -> Call:
    def concerns(_self: Any, state: Any) -> bool:
        return any(entry.active.bundle_id == fault.bundle_id for entry in state.entries.values())

    return concerns


_STEPS: dict[Step, tuple[str, Callable[[Fault], Call]]] = {
    "poll": ("edge_runtime.cloud.poller.Poller.poll", _any),
    "verify": ("edge_runtime.updates.updater.verify_wanted", _any),
    "download": ("edge_runtime.cloud.fetcher.HttpFetcher._append", _any),
    "attach": (
        "edge_runtime.updates.installer.write_gguf_adapter",
        lambda fault: lambda _, path, *__: fault.bundle_id in str(path),
    ),
    "merge": ("edge_runtime.merge.merger.merge", _any),
    "check": ("tests.edge_runtime.fakes.ThreadCanary.verify", _any),
    "activate": ("edge_runtime.serving.slots.SlotTable.activate", _of_slot),
    "restore": ("edge_runtime.serving.slots.SlotTable.activate", _of_slot),
    "commit": ("edge_runtime.updates.state.StateFile.store", _of_state),
    "report": ("edge_runtime.cloud.rpc.GrpcLink.report", _any),
    "clean up": ("edge_runtime.updates.disk.DataDirectory.collect", _any),
}

_DAMAGED: dict[Step, tuple[str, str, Callable[[Fault], Call]]] = {
    "verify": ("edge_runtime.cloud.fetcher.HttpFetcher.download_bundle", "bundles/{}.safetensors", _any),
    "download": ("edge_runtime.cloud.fetcher.HttpFetcher._append", "bundles/{}.part", _any),
    "attach": ("edge_runtime.updates.installer.note_checksum", "adapters/{}.gguf", _of_path),
    "merge": ("edge_runtime.updates.installer.note_checksum", "slots/{}.Q8_0.gguf", _of_path),
    "activate": ("edge_runtime.updates.installer.Installer._try", "slots/{}.Q8_0.gguf", _any),
    "commit": ("edge_runtime.updates.state.StateFile.store", "state.json", _of_state),
}
"""After which call which file is damaged, once."""


def _wrap(
    patch: pytest.MonkeyPatch,
    target: str,
    concerns: Call,
    before: Callable[[], None] = lambda: None,
    after: Callable[[], None] = lambda: None,
    hang: bool = False,
) -> None:
    path, _, name = target.rpartition(".")
    owner = _find(path)
    original = getattr(owner, name)

    @wraps(original)
    async def spoiled_async(*arguments: Any, **named: Any) -> Any:
        is_meant = concerns(*arguments, **named)
        if is_meant:
            before()
            if hang:
                await asyncio.sleep(1_000)
        result = await original(*arguments, **named)
        if is_meant:
            after()
        return result

    @wraps(original)
    def spoiled(*arguments: Any, **named: Any) -> Any:
        is_meant = concerns(*arguments, **named)
        if is_meant:
            before()
            if hang:
                threading.Event().wait()
        result = original(*arguments, **named)
        if is_meant:
            after()
        return result

    patch.setattr(owner, name, spoiled_async if inspect.iscoroutinefunction(original) else spoiled)


def _find(path: str) -> Any:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)


def _note(fault: Fault) -> None:
    descriptor = os.open(fault.fired, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, b".")
    os.close(descriptor)


def _raise(fault: Fault) -> None:
    _note(fault)
    raise RuntimeError("a bug")


def _kill(fault: Fault) -> None:
    _note(fault)
    os.kill(os.getpid(), signal.SIGKILL)


_ENTERED: list[Any] = []


def _fill(fault: Fault) -> None:
    if fault.disk is not None:
        _once(fault, lambda disk: fill(disk))
    elif not _ENTERED:
        _enter(fault, full_disk(_FULL_BYTES))


def _lock(fault: Fault) -> None:
    if fault.disk is not None:
        _once(fault, lambda disk: make_read_only(disk))
    elif not _ENTERED:
        _enter(fault, read_only_disk())


def _once(fault: Fault, happen: Callable[[Path], None]) -> None:
    assert fault.disk is not None
    if not fault.fired.exists():
        happen(fault.disk)
    _note(fault)


def _enter(fault: Fault, disk: AbstractContextManager[None]) -> None:
    _note(fault)
    _ENTERED.append(disk)
    disk.__enter__()


_BEFORE: dict[Kind, Callable[[Fault], None]] = {
    "exception": _raise,
    "kill before": _kill,
    "disk full": _fill,
    "read only": _lock,
}


def _damage(fault: Fault, name: str) -> None:
    path = next(parent for parent in fault.fired.parents) / "edge" / name.format(fault.bundle_id)
    if fault.fired.exists() or not path.exists():
        return
    _note(fault)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


_CHILDREN: dict[Kind, str] = {
    "kill after": "import os; os.kill(os.getpid(), 9)",
    "exception": "import os; os.abort()",
    "hang": "import time; time.sleep(60)",
    "damage": "print('no report')",
}
"""What the canary's process does instead of a trial."""


class _FaultyCanary(ProcessCanary):
    def __init__(self, fault: Fault) -> None:
        super().__init__(1, limit_seconds=0.3, command=(sys.executable, "-I", "-S", "-c", _CHILDREN[fault.kind]))
        self._fault = fault

    async def verify(self, candidate: Candidate) -> TrialReport:
        _note(self._fault)
        return await super().verify(candidate)
