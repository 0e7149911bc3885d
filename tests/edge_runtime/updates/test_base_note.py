"""Damage to the base GGUF by the disk: found, said, and never merged into a model."""

import os
from pathlib import Path

import pytest

from edge_runtime.errors import BaseGgufError
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.updates.base_note import BaseNote, verify_undamaged
from edge_runtime.updates.device_model import DeviceModel
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import LONG, FakeClock, ask, device, entry, make_settings
from tests.full_disk import read_only_disk


def flip_bit(path: Path) -> None:
    """What a disk does: a byte near the end of the file is another, and its times are as they were."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[-1_000] ^= 4
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    path = tmp_path / "base.gguf"
    path.write_bytes(tiny_base.read_bytes())
    return path


def test_damage_is_found_and_a_new_file_is_not_taken_for_it(base: Path, tmp_path: Path) -> None:
    note = tmp_path / "note"
    for _ in range(2):
        verify_undamaged(base, note)
    flip_bit(base)
    with pytest.raises(BaseGgufError, match="damaged"):
        verify_undamaged(base, note)
    os.utime(base)  # somebody wrote it
    verify_undamaged(base, note)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"file": 3}', b"\xff" * 10_000, b"[" * 4_000])
def test_note_that_cannot_be_read_is_none(base: Path, tmp_path: Path, content: bytes) -> None:
    note = tmp_path / "note"
    note.write_bytes(content)
    assert not BaseNote.of(base, note).checksum
    verify_undamaged(base, note)
    assert BaseNote.of(base, note).checksum


def test_note_that_cannot_be_written_stops_nothing(base: Path, tmp_path: Path) -> None:
    with read_only_disk():
        verify_undamaged(base, tmp_path / "note")


def test_model_without_a_digest_of_its_own_stays_the_same_model(base: Path, tmp_path: Path) -> None:
    base.write_bytes(base.read_bytes().replace(b"loragen.edge_model.", b"another.edge_model."))
    before = DeviceModel.open(base, Quantization.Q4_0, tmp_path, None)
    flip_bit(base)
    assert DeviceModel.open(base, Quantization.Q4_0, tmp_path, None).digest == before.digest


async def test_device_serves_what_it_has_and_merges_nothing_from_a_damaged_base(
    cloud: FakeCloud, base: Path, tmp_path: Path
) -> None:
    first, second = cloud.make("router", 1), cloud.make("desk", 2)
    cloud.publish(first)
    settings = make_settings(tmp_path / "edge", base, cloud.url)
    async with device(settings) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        answer = await ask(parts, "router")
        assert answer[1] == f"merged-{first.bundle_id}"
    flip_bit(base)
    clock = FakeClock()
    async with device(settings, clock) as parts:
        assert await ask(parts, "router") == answer
        cloud.publish(second)
        clock.advance(LONG)
        await parts.updater.tick()
        assert await parts.updater.merge_pending() == 1
        assert (await ask(parts, "desk"))[1] == f"adapter-{second.bundle_id}"
        assert "damaged" in entry(parts, "desk").message


async def test_damaged_base_that_serves_itself_is_reported(base: Path, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "edge", base, None, quantization="F16")
    async with device(settings) as parts:
        assert parts.device.base.message == ""
    flip_bit(base)
    async with device(settings) as parts:
        assert "damaged" in parts.device.base.message
        assert "damaged" in entry(parts, "tiny-edge").message
