"""A base GGUF that is to be quantized serves as it is until then: a slow device is ready before a probe ends it."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import edge_runtime.merge.merger
import edge_runtime.updates.installer
from edge_runtime.bootstrap import Parts, open_parts
from edge_runtime.gguf.base_gguf import BaseGguf
from edge_runtime.updates.journal import MAX_DEATHS, Journal
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import (
    LONG,
    FakeClock,
    FakeLoader,
    FlakyLoader,
    ThreadCanary,
    TrustingCanary,
    ask,
    entry,
    eventually,
    files,
    make_settings,
)
from tests.full_disk import full_disk

UNTIL_THEN = "served at the base GGUF's precision until it is quantized"


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    """A base GGUF that nobody has written for an hour."""
    path = tmp_path / "base.gguf"
    path.write_bytes(tiny_base.read_bytes())
    hour_ago = path.stat().st_mtime - 3600
    os.utime(path, (hour_ago, hour_ago))
    return path


class HeldQuantizing:
    """Quantizing that takes until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()
        self.times = 0
        self._really = edge_runtime.merge.merger.quantize_base
        monkeypatch.setattr("edge_runtime.merge.merger.quantize_base", self._hold)

    def _hold(self, *arguments: Any) -> Path:
        self.times += 1
        self.begun.set()
        assert self.release.wait(20)
        return self._really(*arguments)


def _base_message(parts: Parts) -> str:
    return parts.device.models()[0].message


def _fingerprints(parts: Parts) -> list[str]:
    return [parts.slots.revision(name).fingerprint for name in ("base", "router")]


def _models_in_use(parts: Parts) -> set[Path]:
    return {revision.model for revision in parts.slots.revisions().values()}


async def test_device_is_ready_and_follows_its_channel_while_its_base_is_quantized(
    cloud: FakeCloud, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    held = HeldQuantizing(monkeypatch)
    settings = make_settings(tmp_path / "edge", base, cloud.url, serving_mode="attached", poll_interval_seconds=0.05)
    async with open_parts(settings, canary=ThreadCanary()) as parts:
        running = asyncio.create_task(parts.daemon.run())
        try:
            await eventually(lambda: held.begun.is_set() and "router" in parts.slots.revisions())
            assert parts.device.not_ready_reason() is None
            assert _base_message(parts) == UNTIL_THEN
            assert (await ask(parts, "base"))[1] == "base"
            assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"
            assert _models_in_use(parts) == {base}
            before = _fingerprints(parts)
        finally:
            held.release.set()
        quantized = parts.device.base.quantized
        # What is attached follows: otherwise both would stay in memory.
        await eventually(lambda: _models_in_use(parts) == {quantized})
        # Other weights answer otherwise, and under another name.
        assert not {*before} & {*_fingerprints(parts)}
        await eventually(lambda: base not in parts.slots.paths_in_use())
        assert _base_message(parts) == ""
        assert entry(parts, "router").message.endswith("none is merged, by LORAGEN_EDGE_SERVING_MODE")
        assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"
        parts.daemon.stop()
        await running
    async with open_parts(settings, canary=ThreadCanary()) as parts:
        await parts.updater.restore()
        assert _models_in_use(parts) == {quantized}
        assert await parts.device.base.quantize_pending() == 0
    assert held.times == 1


@pytest.mark.parametrize("is_resident", [True, False])
async def test_adapter_follows_the_base_whether_it_is_loaded_or_not(
    cloud: FakeCloud, base: Path, tmp_path: Path, is_resident: bool
) -> None:
    cloud.publish(cloud.make("router"))
    async with open_parts(make_settings(tmp_path / "edge", base, cloud.url), canary=ThreadCanary()) as parts:
        await parts.updater.restore()
        await parts.updater.tick()
        if not is_resident:
            parts.slots.unload("router")
        assert await parts.device.base.quantize_pending() == 1
        assert parts.slots.revision("router").model == parts.device.base.quantized
        assert parts.slots.is_resident("router") == is_resident


async def test_adapter_that_is_loaded_while_the_base_changes_follows_it(
    cloud: FakeCloud, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It serves only after the base has moved those that served."""
    cloud.publish(cloud.make("router"))
    settings = make_settings(tmp_path / "edge", base, cloud.url)
    async with open_parts(settings, FakeLoader(), FakeClock(), TrustingCanary()) as parts:
        await parts.updater.restore()

        async def serve_late(slots: Any, revision: Any, *more: Any) -> None:
            if await parts.device.base.quantize_pending():
                assert "router" not in parts.slots.revisions()
            await really_serve(slots, revision, *more)

        really_serve = edge_runtime.updates.installer.serve
        monkeypatch.setattr("edge_runtime.updates.installer.serve", serve_late)
        await parts.updater.tick()
        assert _models_in_use(parts) == {parts.device.base.quantized}


async def test_device_that_is_stopped_while_its_base_is_quantized_leaves_nothing_behind(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldQuantizing(monkeypatch)
    async with open_parts(make_settings(tmp_path / "edge", base, None), canary=ThreadCanary()) as parts:
        running = asyncio.create_task(parts.daemon.run())
        await eventually(held.begun.is_set)
        parts.daemon.stop()
        held.release.set()
        await running
    assert files(tmp_path / "edge/slots") == set()


async def test_file_that_was_just_written_is_quantized_before_it_serves(base: Path, tmp_path: Path) -> None:
    """It may still be copied, which only who reads all of it finds out."""
    os.utime(base)
    async with open_parts(make_settings(tmp_path / "edge", base, None)) as parts:
        await parts.updater.restore()
        assert _models_in_use(parts) == {parts.device.base.quantized}
        assert await parts.device.base.quantize_pending() == 0


async def test_base_gguf_that_does_not_fit_the_memory_is_quantized_before_it_serves(base: Path, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "edge", base, None, max_model_bytes=10_000)
    async with open_parts(settings) as parts:
        await parts.updater.restore()
        assert _models_in_use(parts) == {parts.device.base.quantized}


async def test_quantizing_that_found_no_disk_is_tried_again_later(base: Path, tmp_path: Path) -> None:
    clock = FakeClock()
    async with open_parts(make_settings(tmp_path / "edge", base, None), FakeLoader(), clock, TrustingCanary()) as parts:
        slot = parts.device.base
        await parts.updater.restore()
        waits = []
        for _ in range(2):
            with full_disk(100_000):
                assert await slot.quantize_pending() == 1
            assert "served at the base GGUF's precision: " in _base_message(parts)
            assert await slot.quantize_pending() == 0
            waits.append(slot.due_in())
            assert await parts.updater.tick() <= waits[-1]
            clock.advance(waits[-1])
        assert waits[1] == 2 * waits[0]
        assert _models_in_use(parts) == {base}
        assert await slot.quantize_pending() == 1
        assert _models_in_use(parts) == {slot.quantized}
        assert _base_message(parts) == ""


@pytest.mark.parametrize("when", ["beside serving", "before it serves"])
async def test_device_that_dies_of_quantizing_serves_without(base: Path, tmp_path: Path, when: str) -> None:
    """Until the restart after that, which may have more memory."""
    first = when == "before it serves"
    settings = make_settings(tmp_path / "edge", base, None, **({"max_model_bytes": 10_000} if first else {}))
    with BaseGguf(base) as base_gguf:
        identity = base_gguf.identity()
    (tmp_path / "edge").mkdir()
    for _ in range(MAX_DEATHS):
        Journal(tmp_path / "edge/journal.json").begin("quantize", "base", identity)
    clock = FakeClock()
    async with open_parts(settings, FakeLoader(), clock, TrustingCanary()) as parts:
        await parts.updater.restore()
        assert await parts.device.base.quantize_pending() == (0 if first else 1)
        clock.advance(LONG)
        assert await parts.device.base.quantize_pending() == 0
        assert f"ended {MAX_DEATHS} times" in _base_message(parts)
        assert _models_in_use(parts) == {base}
    async with open_parts(settings, FakeLoader(), clock, TrustingCanary()) as parts:
        await parts.updater.restore()
        assert await parts.device.base.quantize_pending() == (0 if first else 1)
        assert _models_in_use(parts) == {parts.device.base.quantized}


async def test_unforeseen_failure_of_quantizing_before_it_serves_stops_no_start(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr("edge_runtime.merge.merger.quantize_base", fail)
    settings = make_settings(tmp_path / "edge", base, None, max_model_bytes=10_000)
    async with open_parts(settings, FakeLoader(), FakeClock(), TrustingCanary()) as parts:
        await parts.updater.restore()
        assert _models_in_use(parts) == {base}
        assert "unforeseen" in _base_message(parts)


async def test_quantized_base_that_did_not_load_is_not_made_anew(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldQuantizing(monkeypatch)
    held.release.set()
    clock, loader = FakeClock(), FlakyLoader()
    async with open_parts(make_settings(tmp_path / "edge", base, None), loader, clock, TrustingCanary()) as parts:
        loader.refuses = lambda path: path != base
        await parts.updater.restore()
        assert await parts.device.base.quantize_pending() == 1
        assert "out of memory" in _base_message(parts)
        loader.refuses = lambda path: False
        clock.advance(LONG)
        assert await parts.device.base.quantize_pending() == 1
        assert _models_in_use(parts) == {parts.device.base.quantized}
    assert held.times == 1
