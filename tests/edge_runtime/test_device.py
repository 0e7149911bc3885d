"""What a device says of itself, from its state, its slots and its channel."""

from pathlib import Path

from edge_runtime.bootstrap import open_parts
from loragen.device_answers import ServedAnswer
from tests.edge_runtime.contracts import DESKS
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import FakeClock, FakeLoader, ask, command, device, entry, make_settings


async def test_device_is_ready_once_what_served_before_is_back(tiny_base: Path, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "edge", tiny_base, None)
    async with open_parts(settings, FakeLoader(), FakeClock()) as parts:
        assert "base model is being prepared" in (parts.device.not_ready_reason() or "")
        await parts.updater.restore()
        assert parts.device.not_ready_reason() is None
        assert parts.device.status().ready
        parts.device.stopping = True
        assert parts.device.status().reason == "the device is shutting down"


async def test_base_has_two_names_and_stands_first(tiny_base: Path, tmp_path: Path) -> None:
    async with device(make_settings(tmp_path / "edge", tiny_base, None), loader=FakeLoader()) as parts:
        assert parts.device.slot_name("tiny-edge") == parts.device.slot_name("base") == "base"
        assert parts.device.slot_name("router") == "router"
        assert [(model.id, model.state) for model in parts.device.models()] == [("tiny-edge", "base")]


async def test_report_names_the_channel_and_each_specialization(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    cloud.publish(cloud.make("b-router", 1), cloud.make("a-other", 2))
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), loader=FakeLoader()) as parts:
        await parts.updater.tick()
        report = parts.device.status()
        assert (report.channel, report.channel_version, report.last_poll, report.problem) == ("default", 1, "ok", "")
        assert [model.id for model in report.models] == ["tiny-edge", "a-other", "b-router"]


async def test_entry_says_what_failed_what_was_rolled_back_and_what_is_pinned(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    first, second, third = (cloud.make("router", seed) for seed in (1, 2, 3))
    clock = FakeClock()
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with device(settings, clock, FakeLoader()) as parts:
        for wanted in (first, second):
            cloud.publish(wanted)
            clock.advance(1_000)
            await parts.updater.tick()
        await command(parts, "rollback")
        assert f"rolled back from {second.bundle_id}" in entry(parts, "router").message
        cloud.publish(third)
        cloud.fail("/recipes/", status=500)
        cloud.fail("/bundles/", status=500)
        clock.advance(1_000)
        await parts.updater.tick()
        await command(parts, "pin")
        served = entry(parts, "router")
        assert (served.bundle_id, served.failed_bundle_id, served.pinned) == (first.bundle_id, third.bundle_id, True)
        assert "a newer bundle failed" in served.message


async def test_status_says_why_a_specialization_stays_a_runtime_adapter(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    cloud.publish(*(cloud.make(f"n{number}", number) for number in range(3)))
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), loader=FakeLoader()) as parts:
        await parts.updater.tick()
        await ask(parts, "n1")
        parts.slots.note_tokens("n1", read=10, written=2_000)
        assert parts.device.status().serving_mode.startswith("auto: at most 8 are merged, by LORAGEN_EDGE_MAX_MERGED")
        assert await parts.updater.merge_pending() == 2
        _, *served = parts.device.models()
        assert [each.state for each in served] == ["merged", "adapter", "merged"]
        assert [bool(each.message) for each in served] == [False, True, False]
        assert "it wrote 2000 tokens and read 10" in served[1].message
        parts.slots.note_tokens("n1", read=2_000, written=0)
        assert await parts.updater.merge_pending() == 1


async def test_contract_and_residual_prompt_of_a_bundle_hold_however_it_is_applied(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """As an adapter, merged, and after a restart before anything loads it."""
    cloud.publish(cloud.make("router", answer=DESKS, residual_prompt="Sort."))
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url, max_resident=1)
    desks = ServedAnswer("choice", DESKS.choices)
    async with device(settings) as parts:
        for step, state in ((parts.updater.tick, "adapter"), (parts.updater.merge_pending, "merged")):
            await step()
            assert [model.answer for model in parts.device.models()] == [ServedAnswer("text"), desks]
            assert [model.residual_prompt for model in parts.device.models()] == ["", "Sort."]
            assert entry(parts, "router").tokens_saved_per_call == 120 - 20
            text, fingerprint = await ask(parts, "router")
            assert text in DESKS.choices
            assert fingerprint.startswith(state)
    async with device(settings) as parts:
        assert (entry(parts, "router").resident, entry(parts, "router").answer) == (False, desks)
        assert entry(parts, "router").residual_prompt == "Sort."
        assert (await ask(parts, "router"))[0] == text


async def test_report_knows_no_answers_of_what_does_not_serve(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    cloud.publish(cloud.make("router"))
    cloud.fail("/recipes/", status=500)
    cloud.fail("/bundles/", status=500)
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), loader=FakeLoader()) as parts:
        await parts.updater.tick()
        assert (entry(parts, "router").state, entry(parts, "router").answer) == ("failed", None)
