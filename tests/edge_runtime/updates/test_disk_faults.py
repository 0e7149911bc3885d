"""A disk that becomes full or read-only in the middle of an update, and gets well again while the device runs.

All the time the old bundle answers or the new one, nothing is tried without a pause, and once the disk takes bytes
again the device comes by itself to what an update without faults leaves.
"""

import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import Mock

import pytest
from structlog.testing import capture_logs

from edge_runtime.telemetry import UpdateRecord
from tests.edge_runtime.fakes import LONG, FakeClock, ask, device, make_settings
from tests.edge_runtime.updates.device_scene import Scene, deaf_cloud, eventually, files_of, observe, running
from tests.edge_runtime.updates.faulty_device import Fault, Kind, Step, spoil
from tests.full_disk import full_disk, read_only_disk
from tests.small_disk import mend, small_disk

HOUR = 3_600.0

_DISK_BYTES = 64 * 1024 * 1024

_KINDS: tuple[Kind, ...] = ("disk full", "read only")
_STEPS: tuple[Step, ...] = ("download", "attach", "merge", "check", "activate", "commit", "clean up")
_REAL_STEPS: tuple[Step, ...] = ("download", "attach", "merge", "commit", "report")


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("step", _STEPS)
async def test_disk_that_fails_for_an_hour(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Step, kind: Kind
) -> None:
    data_dir, clock, records = tmp_path / "edge", FakeClock(), list[UpdateRecord]()
    shutil.copytree(scene.before, data_dir)
    settings = make_settings(data_dir, scene.base_gguf, scene.cloud.url, max_bank_bytes=0, poll_interval_seconds=60)
    async with device(settings, clock) as parts:
        with ExitStack() as failing:

            def fail() -> None:
                if not records:
                    parts.telemetry.on_update = records.append
                    failing.enter_context(full_disk(64) if kind == "disk full" else read_only_disk())

            # A log goes to a file of the test, which cannot grow either.
            with monkeypatch.context() as patch, capture_logs():
                spoil(patch, Fault(step, kind, scene.new.bundle_id, tmp_path / "fired"), fail)
                ticks, end = 0, clock.now + HOUR
                while clock.now < end:
                    clock.advance(await parts.updater.tick())
                    await parts.updater.merge_pending()
                    ticks += 1
                    text, fingerprint = await ask(parts, "router")
                    assert text == scene.answers[fingerprint.partition("-")[2]]
            tried = [record for record in records if record.step != "poll"]
            assert len(tried) < 30, tried
            assert ticks < 2 * HOUR / settings.poll_interval_seconds
        for _ in range(3):
            clock.advance(LONG)
            await parts.updater.tick()
            await parts.updater.merge_pending()
            await parts.slots.drained()
        assert (await ask(parts, "router"))[1] == f"merged-{scene.new.bundle_id}"
        assert parts.device.status().problem == ""
        assert parts.updater.state_store.state.failures == {}
        assert files_of(data_dir) == scene.files


async def test_files_of_the_state_on_disk_stay_until_the_disk_takes_a_newer_one(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power may fail in between, and then they are what serves."""
    data_dir, clock = tmp_path / "edge", FakeClock()
    shutil.copytree(scene.before, data_dir)
    newer, settings = scene.cloud.make("router", 3), make_settings(data_dir, scene.base_gguf, scene.cloud.url)
    try:
        async with device(settings, clock) as parts:
            with monkeypatch.context() as patch:
                patch.setattr("edge_runtime.updates.state.StateFile.store", Mock(side_effect=OSError("full")))
                for wanted in (scene.new, newer):
                    scene.cloud.publish(wanted)
                    clock.advance(LONG)
                    await parts.updater.tick()
                    await parts.slots.drained()
                assert (await ask(parts, "router"))[1] == f"adapter-{newer.bundle_id}"
                await parts.updater.tick()
            shutil.copytree(data_dir, tmp_path / "after", ignore=shutil.ignore_patterns("*.sock"))
            await parts.updater.tick()
            await parts.updater.tick()
            assert not [*data_dir.rglob(f"{scene.old.bundle_id}*")]
    finally:
        scene.cloud.publish(scene.new)
    async with device(make_settings(tmp_path / "after", scene.base_gguf, None)) as parts:
        assert (await ask(parts, "router"))[1] == f"merged-{scene.old.bundle_id}"


async def test_damaged_bundle_on_a_read_only_disk_gives_way_to_the_one_before(scene: Scene, tmp_path: Path) -> None:
    data_dir, clock = tmp_path / "edge", FakeClock()
    shutil.copytree(scene.before, data_dir)
    settings = make_settings(data_dir, scene.base_gguf, scene.cloud.url)
    async with device(settings, clock) as parts:
        await parts.updater.tick()
    (data_dir / f"bundles/{scene.new.bundle_id}.safetensors").write_bytes(b"damaged")
    with read_only_disk():
        async with device(settings, clock) as parts:
            assert (await ask(parts, "router"))[1] == f"merged-{scene.old.bundle_id}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("step", _REAL_STEPS)
def test_real_disk_that_fails(scene: Scene, tmp_path: Path, step: Step, kind: Kind) -> None:
    data_dir = tmp_path / "edge"
    with small_disk(data_dir, _DISK_BYTES):
        shutil.copytree(scene.before, data_dir, dirs_exist_ok=True)
        fault = Fault(step, kind, scene.new.bundle_id, tmp_path / "fired", data_dir)
        with deaf_cloud() as deaf, running(scene, tmp_path, fault, deaf if step == "report" else None) as run:
            observe(run, fault)
            for _ in range(10):
                assert run.answer() in scene.answers, run.log()
                time.sleep(0.1)
            # Polls, the state that is not written, and reports come each time; what failed waits longer and longer.
            assert fault.fired.stat().st_size <= (12 if step in ("download", "attach", "merge") else 100)
            mend(data_dir)
            assert eventually(lambda: run.answer() == scene.new.bundle_id and run.served().state == "merged", 20), (
                f"{run.served()}\n{run.log()}"
            )
            assert eventually(lambda: files_of(data_dir) == scene.files, 10), files_of(data_dir) ^ scene.files
            assert run.device.status().problem == ""
            assert (run.served().message, run.served().failed_bundle_id) == ("", None)
