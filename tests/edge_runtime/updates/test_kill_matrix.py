"""Each step of an update, spoiled in each way, in real processes: old or new answers, and the update gets through.

A device serves `old` merged, and its channel lists `new`. One step goes wrong; then the process is killed, and started
again without the fault. Every answer is that of one bundle, the first after the restart too. In the end the new bundle
serves merged, and on disk is exactly what an update without faults leaves.
"""

import shutil
import time
from pathlib import Path
from typing import get_args

import pytest

from tests.edge_runtime.updates.device_scene import Scene, deaf_cloud, eventually, files_of, observe, running
from tests.edge_runtime.updates.faulty_device import Fault, Kind, Step

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

_CELLS = [
    pytest.param(step, kind, id=f"{step}-{kind}")
    for step in get_args(Step)
    for kind in get_args(Kind)
    if step != "restore" and (step, kind) not in _NOT_THERE
]


@pytest.mark.parametrize(("step", "kind"), _CELLS)
def test_update_survives(scene: Scene, tmp_path: Path, step: Step, kind: Kind) -> None:
    shutil.copytree(scene.before, tmp_path / "edge")
    fault = Fault(step, kind, scene.new.bundle_id, tmp_path / "fired")
    with deaf_cloud() as deaf, running(scene, tmp_path, fault, deaf if step == "report" else None) as run:
        observe(run, fault)
    # Not in a loop without a pause: a second holds a few doublings of the first wait. Reports go with the polls.
    assert 1 <= fault.fired.stat().st_size <= (100 if step == "report" else 12)
    with running(scene, tmp_path) as run:
        assert run.wait_until_up(), run.log()
        assert run.answer() in scene.answers
        assert eventually(lambda: run.answer() == scene.new.bundle_id and run.served().state == "merged", 20), (
            f"{run.served()}\n{run.log()}"
        )
        assert eventually(lambda: files_of(tmp_path / "edge") == scene.files, 5), (
            files_of(tmp_path / "edge") ^ scene.files
        )
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
            assert eventually(lambda: run.answer() == scene.new.bundle_id and run.served().state == "merged", 20)
    fault = Fault(step, "kill before", scene.new.bundle_id, tmp_path / "fired")
    for _ in range(3):
        with running(scene, tmp_path, fault) as run:
            assert eventually(lambda: not run.process.is_alive(), 20), run.log()
    with running(scene, tmp_path, fault) as run:
        assert run.wait_until_up(), run.log()
        eventually(lambda: "ended 3 times" in run.served().message, 10)
        served = run.served()
        assert "ended 3 times in a row" in served.message, f"{served}\n{run.log()}"
        time.sleep(0.3)
        assert run.process.is_alive()
        assert run.answer() == (scene.new if step == "merge" else scene.old).bundle_id
    with running(scene, tmp_path) as run:
        assert run.wait_until_up(), run.log()
        assert eventually(lambda: run.answer() == scene.new.bundle_id and run.served().state == "merged", 20), run.log()
