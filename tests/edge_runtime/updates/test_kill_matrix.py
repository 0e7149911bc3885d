"""Each step of an update, spoiled in each way, in real processes: old or new answers, and the update gets through.

A device serves `old` merged, and its channel lists `new`. One step goes wrong; then the process is killed, and started
again without the fault. Every answer is that of one bundle, the first after the restart too. In the end the new bundle
serves merged, and on disk is exactly what an update without faults leaves.
"""

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
from typing import Any, get_args

import pytest

from loragen import ClientError, DeviceClient
from loragen.client.process import free_ports
from loragen.contract.channel import Specialization
from loragen.device_answers import ServedModel
from tests.edge_runtime.conftest import TINY_SHAPE
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import LONG, FakeClock, ask, device, make_settings
from tests.edge_runtime.updates.faulty_device import Fault, Kind, Step, start_device

pytestmark = pytest.mark.slow

_NOT_THERE: dict[tuple[Step, Kind], str] = {
    ("verify", "hang"): "it compares values in memory",
    ("activate", "hang"): "it moves a pointer in memory",
    ("poll", "damage"): "the document is parsed where it arrives: test_poller has it",
    ("poll", "disk full"): "nothing is written before the download",
    ("poll", "read only"): "nothing is written before the download",
    ("verify", "disk full"): "nothing is written before the download",
    ("verify", "read only"): "nothing is written before the download",
    ("report", "damage"): "nothing is read",
    ("clean up", "damage"): "nothing is read",
}
"""Cells that mean nothing."""

_PAUSE_SECONDS = 0.04
"""Between two requests: on one core, each takes time from the device."""

_CELLS = [
    pytest.param(step, kind, id=f"{step}-{kind}")
    for step in get_args(Step)
    for kind in get_args(Kind)
    if step != "restore" and (step, kind) not in _NOT_THERE
]

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


@pytest.fixture(scope="module")
def scene(tiny_base: Path, tiny_digest: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("matrix")
    (directory / "cloud").mkdir()
    cloud = FakeCloud(directory / "cloud", TINY_SHAPE, tiny_digest)
    try:
        yield asyncio.run(_prepare(cloud, tiny_base, directory))
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
    return Scene(cloud, base_gguf, directory / "before", old, new, answers, _files(directory / "edge"))


def _files(data_dir: Path) -> set[str]:
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
        return _eventually(lambda: self.is_up() or not self.process.is_alive(), seconds) and self.process.is_alive()

    def answer(self) -> str | None:
        """The bundle that gives the right answer of itself; None when the process has ended."""
        try:
            found = self.device.complete("router", "The quick brown", max_tokens=8, temperature=0)
        except ClientError:
            # A kill closes the connection a moment before the process is gone.
            assert _eventually(lambda: not self.process.is_alive(), 2.0), f"no answer\n{self.log()}"
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


def _eventually(condition: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
    return True


@contextmanager
def _deaf_cloud() -> Iterator[str]:
    """An address where connections are taken and nothing is answered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def _observe(run: Run, fault: Fault) -> None:
    """Ask until the fault has happened, and a while after it; every answer must be right."""
    assert run.wait_until_up() or fault.fired.exists(), run.log()
    deadline = time.monotonic() + 20
    while not fault.fired.exists() and run.process.is_alive():
        assert time.monotonic() < deadline, f"the fault did not happen\n{run.log()}"
        run.answer()
        time.sleep(_PAUSE_SECONDS)
    until = time.monotonic() + 0.4
    while time.monotonic() < until and run.answer() is not None:
        time.sleep(_PAUSE_SECONDS)


@pytest.mark.parametrize(("step", "kind"), _CELLS)
def test_update_survives(scene: Scene, tmp_path: Path, step: Step, kind: Kind) -> None:
    shutil.copytree(scene.before, tmp_path / "edge")
    fault = Fault(step, kind, scene.new.bundle_id, tmp_path / "fired")
    with _deaf_cloud() as deaf, running(scene, tmp_path, fault, deaf if step == "report" else None) as run:
        _observe(run, fault)
    # Not in a loop without a pause: a second holds a few doublings of the first wait. Reports go with the polls.
    assert 1 <= fault.fired.stat().st_size <= (100 if step == "report" else 12)
    with running(scene, tmp_path) as run:
        assert run.wait_until_up(), run.log()
        assert run.answer() in scene.answers
        assert _eventually(lambda: run.answer() == scene.new.bundle_id and run.served().state == "merged", 20), (
            f"{run.served()}\n{run.log()}"
        )
        assert _eventually(lambda: _files(tmp_path / "edge") == scene.files, 5), _files(tmp_path / "edge") ^ scene.files
        status = run.device.status()
        assert (run.served().message, run.served().failed_bundle_id) == ("", None)
        assert status.problem == "" or "moved aside" in status.problem


@pytest.mark.parametrize("step", ["attach", "merge", "restore"])
def test_step_that_ends_the_process_each_time_is_left_in_the_end(scene: Scene, tmp_path: Path, step: Step) -> None:
    """The state alone cannot know: it says what serves, not what the process died of. The journal does."""
    shutil.copytree(scene.before, tmp_path / "edge")
    if step == "restore":
        with running(scene, tmp_path) as run:
            assert run.wait_until_up(), run.log()
            assert _eventually(lambda: run.answer() == scene.new.bundle_id and run.served().state == "merged", 20)
    fault = Fault(step, "kill before", scene.new.bundle_id, tmp_path / "fired")
    for _ in range(3):
        with running(scene, tmp_path, fault) as run:
            assert _eventually(lambda: not run.process.is_alive(), 20), run.log()
    with running(scene, tmp_path, fault) as run:
        assert run.wait_until_up(), run.log()
        _eventually(lambda: "ended 3 times" in run.served().message, 10)
        served = run.served()
        assert "ended 3 times in a row" in served.message, f"{served}\n{run.log()}"
        time.sleep(0.3)
        assert run.process.is_alive()
        assert run.answer() == (scene.new if step == "merge" else scene.old).bundle_id
    with running(scene, tmp_path) as run:
        assert run.wait_until_up(), run.log()
        assert _eventually(lambda: run.answer() == scene.new.bundle_id and run.served().state == "merged", 20), (
            run.log()
        )
