"""Helper: a device in a process that serves `old` merged and is to serve `new`, and what is to be so in the end."""

import asyncio
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragen import ClientError, DeviceClient
from loragen.client.process import free_ports
from loragen.contract.channel import Specialization
from loragen.device_answers import ServedModel
from tests.edge_runtime.conftest import TINY_SHAPE
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import LONG, FakeClock, ask, device, make_settings
from tests.edge_runtime.updates.faulty_device import Fault, start_device

PAUSE_SECONDS = 0.04
"""Between two requests: on one core, each takes time from the device."""

_UNSTABLE = {"history.jsonl", "journal.json", "commands.sock", "lock"}
"""What every run may leave, beside states that were moved aside."""


@dataclass(frozen=True)
class Scene:
    """What all cells begin with, and what they are to end with.

    Attributes:
        before: Data directory of a device that serves `old` merged.
        answers: What each bundle answers, by id.
        files: What is on disk after an update without faults.
    """

    cloud: FakeCloud
    base_gguf: Path
    before: Path
    old: Specialization
    new: Specialization
    answers: dict[str, str]
    files: set[str]


@contextmanager
def prepared_scene(base_gguf: Path, digest: str, directory: Path) -> Iterator[Scene]:
    (directory / "cloud").mkdir()
    cloud = FakeCloud(directory / "cloud", TINY_SHAPE, digest)
    try:
        yield asyncio.run(_prepare(cloud, base_gguf, directory))
    finally:
        cloud.close()


async def _prepare(cloud: FakeCloud, base_gguf: Path, directory: Path) -> Scene:
    old, new = cloud.make("router", 1), cloud.make("router", 2)
    answers = {}
    settings = make_settings(directory / "edge", base_gguf, cloud.url, max_bank_bytes=0)
    for wanted in (old, new):
        cloud.publish(wanted)
        clock = FakeClock()
        async with device(settings, clock) as parts:
            for _ in range(3):
                clock.advance(LONG)
                await parts.updater.tick()
                await parts.updater.merge_pending()
                await parts.slots.drained()
            answers[wanted.bundle_id] = (await ask(parts, "router"))[0]
        if wanted is old:
            shutil.copytree(directory / "edge", directory / "before")
    assert len(set(answers.values())) == 2
    return Scene(cloud, base_gguf, directory / "before", old, new, answers, files_of(directory / "edge"))


def files_of(data_dir: Path) -> set[str]:
    found = {str(path.relative_to(data_dir)) for path in data_dir.rglob("*") if not path.is_dir()}
    return {name for name in found - _UNSTABLE if ".corrupt-" not in name}


class Run:
    """One device in a process."""

    def __init__(self, scene: Scene, directory: Path, fault: Fault | None, grpc: str | None = None) -> None:
        (port,) = free_ports(1)
        self._scene = scene
        self._log = directory / "log"
        values = {
            "data_dir": directory / "edge",
            "base_model": scene.base_gguf,
            "cloud_url": scene.cloud.url,
            "allow_unsigned": True,
            "quantization": "Q8_0",
            "context_tokens": 256,
            "threads": 1,
            "poll_interval_seconds": 0.05,
            "cloud_timeout_seconds": 0.3,
            "download_timeout_seconds": 0.3,
            "max_bank_bytes": 0,
            # All steps are wanted, and these short requests alone would not be worth a merge.
            "serving_mode": "merged",
            "port": port,
            "cloud_grpc": grpc,
        }
        self.process = start_device(values, fault, self._log)
        self.device = DeviceClient(f"http://127.0.0.1:{port}", attempts=1, timeout_seconds=5.0)

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def is_up(self) -> bool:
        """Whether it is ready, and not a process that has ended."""
        try:
            return self.device.readiness().ready
        except ClientError:
            return False

    def wait_until_up(self, seconds: float = 20.0) -> bool:
        """Whether it came up, before it ended."""
        return eventually(lambda: self.is_up() or not self.process.is_alive(), seconds) and self.process.is_alive()

    def answer(self) -> str | None:
        """The bundle that gives the right answer of itself; None when the process has ended."""
        try:
            found = self.device.complete("router", "The quick brown", max_tokens=8, temperature=0)
        except ClientError:
            # A kill closes the connection a moment before the process is gone.
            assert eventually(lambda: not self.process.is_alive(), 2.0), f"no answer\n{self.log()}"
            return None
        bundle_id = (found.fingerprint or "").partition("-")[2]
        assert found.text == self._scene.answers.get(bundle_id), f"a mixture: {found}"
        return bundle_id

    def served(self) -> ServedModel:
        return self.device.model("router")


@contextmanager
def running(scene: Scene, directory: Path, fault: Fault | None = None, grpc: str | None = None) -> Iterator[Run]:
    run = Run(scene, directory, fault, grpc)
    try:
        yield run
    finally:
        run.device.close()
        if run.process.is_alive() and run.process.pid:
            os.kill(run.process.pid, signal.SIGKILL)
        run.process.join()


def eventually(condition: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE_SECONDS)
    return True


def observe(run: Run, fault: Fault) -> None:
    """Ask until the fault has happened, and a while after it; every answer must be right."""
    assert run.wait_until_up() or fault.fired.exists(), run.log()
    deadline = time.monotonic() + 20
    while not fault.fired.exists() and run.process.is_alive():
        assert time.monotonic() < deadline, f"the fault did not happen\n{run.log()}"
        run.answer()
        time.sleep(PAUSE_SECONDS)
    until = time.monotonic() + 0.4
    while time.monotonic() < until and run.answer() is not None:
        time.sleep(PAUSE_SECONDS)


@contextmanager
def deaf_cloud() -> Iterator[str]:
    """An address where connections are taken and nothing is answered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
