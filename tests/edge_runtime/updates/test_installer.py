"""The base model serves quantized, or as it is when it cannot be quantized."""

from contextlib import ExitStack
from pathlib import Path

from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge import quantize_base
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import (
    FlakyLoader,
    ask,
    device,
    make_settings,
)
from tests.full_disk import full_disk


async def test_damaged_base_is_made_again(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with device(settings) as parts:
        answer = await ask(parts, "base")
    (base,) = (tmp_path / "edge/slots").glob("base.*.gguf")
    base.write_bytes(base.read_bytes()[:10_000])
    async with device(settings) as parts:
        assert await ask(parts, "base") == answer


async def test_base_is_the_base_itself_when_it_cannot_be_quantized(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """A full disk does not keep the device from serving, and the reason shows."""
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    with full_disk(50_000):
        async with device(settings) as parts:
            assert (await ask(parts, "base"))[1] == "base"
            assert "no space left" in parts.device.models()[0].message
            assert parts.device.not_ready_reason() is None


async def test_base_that_is_small_already_serves_itself(tiny_base: Path, tmp_path: Path) -> None:
    quantized = quantize_base(tiny_base, tmp_path / "q4.gguf", Quantization.Q4_0)
    async with device(make_settings(tmp_path / "edge", quantized, None)) as parts:
        assert parts.slots.revisions()["base"].model == quantized
        assert (parts.device.status().quantization, parts.device.models()[0].message) == ("Q4_0", "")
        assert list((tmp_path / "edge/slots").iterdir()) == []


async def test_base_that_serves_as_the_base_is_never_deleted(tiny_base: Path, tmp_path: Path) -> None:
    """Not even when it cannot be loaded for a while; and once there is room, the base is quantized after all."""
    base_gguf = tmp_path / "base.gguf"
    base_gguf.write_bytes(tiny_base.read_bytes())  # noqa: ASYNC240
    loader = FlakyLoader()
    with ExitStack() as full:
        full.enter_context(full_disk(50_000))
        async with device(make_settings(tmp_path / "edge", base_gguf, None), loader=loader) as parts:

            async def repair() -> None:
                parts.slots.mark_broken(parts.slots.revisions()["base"])
                await parts.updater.tick()

            assert parts.slots.revisions()["base"].model == base_gguf
            loader.refuses = lambda path: True
            await repair()
            assert base_gguf.exists()
            assert "out of memory" in parts.updater.base_message
            loader.refuses = lambda path: False
            await repair()
            assert "no space left" in parts.updater.base_message
            full.close()
            await repair()
            assert parts.updater.base_message == ""
            assert parts.slots.revisions()["base"].model != base_gguf
            assert base_gguf.exists()


async def test_intact_base_that_does_not_load_for_a_while_is_kept(tiny_base: Path, tmp_path: Path) -> None:
    loader = FlakyLoader()
    async with device(make_settings(tmp_path / "edge", tiny_base, None), loader=loader) as parts:
        base = parts.slots.revisions()["base"]
        made = base.model.stat()
        loader.refuses = lambda path: path == base.model
        parts.slots.mark_broken(base)
        await parts.updater.tick()
        assert parts.slots.revisions()["base"].model == tiny_base
        assert "at the base GGUF's precision" in parts.updater.base_message
        loader.refuses = lambda path: False
        parts.slots.mark_broken(parts.slots.revisions()["base"])
        await parts.updater.tick()
        assert parts.slots.revisions()["base"] == base
        assert base.model.stat().st_ino == made.st_ino
