"""The base model serves quantized, or as it is when it cannot be quantized."""

from contextlib import ExitStack
from pathlib import Path

from edge_runtime.errors import CanaryError, CanaryUnfinishedError, UpdateError
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge import quantize_base
from edge_runtime.updates.rules import MAX_UNFINISHED
from edge_runtime.updates.trial import Candidate, TrialReport
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import (
    LONG,
    FakeClock,
    FakeLoader,
    FlakyLoader,
    TrustingCanary,
    ask,
    device,
    entry,
    files,
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
            assert "out of memory" in parts.device.base.message
            loader.refuses = lambda path: False
            await repair()
            assert "no space left" in parts.device.base.message
            full.close()
            await repair()
            assert parts.device.base.message == ""
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
        assert "at the base GGUF's precision" in parts.device.base.message
        loader.refuses = lambda path: False
        parts.slots.mark_broken(parts.slots.revisions()["base"])
        await parts.updater.tick()
        assert parts.slots.revisions()["base"] == base
        assert base.model.stat().st_ino == made.st_ino


async def test_adapter_that_the_disk_damaged_does_not_serve_on_a_full_one(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """It cannot be written anew; once there is room it is, and serves."""
    cloud.publish(cloud.make("router"))
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        await parts.updater.tick()
        before = await ask(parts, "router")
    (adapter,) = (tmp_path / "edge/adapters").glob("*.gguf")
    data = bytearray(adapter.read_bytes())
    data[-1_000] ^= 4
    adapter.write_bytes(data)
    clock = FakeClock()
    with ExitStack() as full:
        full.enter_context(full_disk(8_000))
        async with device(make_settings(tmp_path / "edge", tiny_base, None), clock) as parts:
            assert "free some space" in entry(parts, "router").message
            assert list(parts.slots.revisions()) == ["base"]
            full.close()
            clock.advance(LONG)
            await parts.updater.tick()
            assert await ask(parts, "router") == before


class StrictCanary(TrustingCanary):
    """Refuses what has this in the name of its file."""

    def __init__(self, part: str, error: UpdateError) -> None:
        super().__init__()
        self.part = part
        self.error = error

    async def verify(self, candidate: Candidate) -> TrialReport:
        report = await super().verify(candidate)
        if self.part in str(candidate.adapter or candidate.model):
            raise self.error
        return report


async def test_bundle_that_the_canary_refuses_never_serves(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    """The one before serves on, and the reason shows; the same bytes are not tried again."""
    good, bad = cloud.make("router", 1), cloud.make("router", 2)
    clock = FakeClock()
    canary = StrictCanary(bad.bundle_id, CanaryError("the canary's process ended with SIGSEGV"))
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with device(settings, clock, FakeLoader(), canary) as parts:
        for wanted in (good, bad):
            cloud.publish(wanted)
            clock.advance(LONG)
            await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"adapter-{good.bundle_id}"
        served = entry(parts, "router")
        assert served.failed_bundle_id == bad.bundle_id
        assert "SIGSEGV" in served.message
        tried = len(canary.tried)
        clock.advance(LONG)
        await parts.updater.tick()
        assert len(canary.tried) == tried


async def test_merge_that_the_canary_refuses_stays_an_adapter(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """Beside it the canary was given the adapter to compare with; the merged file is gone."""
    wanted = cloud.make("router", 1)
    cloud.publish(wanted)
    canary = StrictCanary("slots", CanaryError("the merged model agrees with its adapter to 0.31"))
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), None, FakeLoader(), canary) as parts:
        await parts.updater.tick()
        assert await parts.updater.merge_pending() == 1
        served = entry(parts, "router")
        assert (served.state, served.agreement) == ("adapter", None)
        assert "stays a run-time adapter: the merged model agrees" in served.message
        assert not [name for name in files(tmp_path / "edge/slots") if wanted.bundle_id in name]
        assert canary.tried[-1].attached == canary.tried[0].adapter
        assert await parts.updater.merge_pending() == 0


async def test_canary_that_never_comes_to_an_end_is_left_after_a_few_attempts(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    cloud.publish(cloud.make("router", 1))
    clock, canary = FakeClock(), StrictCanary("adapters", CanaryUnfinishedError("no end within 120 s"))
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock, FakeLoader(), canary) as parts:
        for _ in range(MAX_UNFINISHED + 3):
            clock.advance(LONG)
            await parts.updater.tick()
        assert len(canary.tried) == MAX_UNFINISHED
        assert entry(parts, "router").permanent


async def test_what_served_is_not_tried_again_at_a_restart(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    """Its files are what they were, and a start should be fast."""
    cloud.publish(cloud.make("router", 1))
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), loader=FakeLoader()) as parts:
        await parts.updater.tick()
    canary = TrustingCanary()
    settings = make_settings(tmp_path / "edge", tiny_base, None)
    async with device(settings, loader=FakeLoader(), canary=canary) as parts:
        assert (await ask(parts, "router"))[1].startswith("adapter-")
        assert canary.tried == []
