"""A whole device that trusts a root: it runs what is signed, and goes on with what it has when something is not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge_runtime.bootstrap import Parts
from edge_runtime.cloud.trust import VERIFY_SECONDS
from edge_runtime.config import EdgeSettings
from loragen.contract.channel import Channel, encode_channel
from loragen.contract.digest import sha256_hex
from tests.edge_runtime.fake_cloud import FakeCloud, recipe_of
from tests.edge_runtime.fakes import LONG, FakeClock, FakeLoader, ask, command, device, entry, make_settings
from tests.edge_runtime.signed_repository import FOLDER, SignedRepository


class Owner:
    """A cloud whose channel is signed, and the settings of a device that trusts it."""

    def __init__(self, cloud: FakeCloud, base: Path, directory: Path) -> None:
        self.cloud = cloud
        self.repository = SignedRepository(cloud.files)
        root = directory / "root.json"
        root.write_bytes(self.repository.first_root)
        self.settings: EdgeSettings = make_settings(
            directory / "edge", base, cloud.url, trusted_root=root, max_merged=0
        )
        self.clock = FakeClock()

    def sign(self) -> None:
        assert self.cloud.channel is not None
        self.repository.publish(encode_channel(self.cloud.channel))

    async def tick(self, parts: Parts) -> str:
        """The outcome of the next poll, as `/status` says it."""
        self.clock.advance(LONG)
        await parts.updater.tick()
        return parts.device.status().last_poll


@pytest.fixture
def owner(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> Owner:
    return Owner(cloud, tiny_base, tmp_path)


async def test_refused_update_leaves_the_device_answering_and_says_why(owner: Owner) -> None:
    good = owner.cloud.make("router")
    owner.cloud.publish(good)
    owner.sign()
    async with device(owner.settings, owner.clock, FakeLoader()) as parts:
        assert await owner.tick(parts) == "ok"
        owner.cloud.publish(owner.cloud.make("router", 1), owner.cloud.make("evil", 2))
        for _ in range(3):
            assert await owner.tick(parts) == "channel_refused"
            assert parts.updater.poller is not None
            # At the poll's pace, not later and later.
            assert parts.updater.poller.due_in() <= 11
        status = parts.device.status()
        assert "not signed" in status.last_poll_message
        assert status.trust is not None
        assert (status.trust.root_version, status.trust.last_refusal) == (1, status.last_poll_message)
        assert [model.id for model in status.models] == ["tiny-edge", "router"]
        assert entry(parts, "router").bundle_id == good.bundle_id
        assert await ask(parts, "router")
        owner.sign()
        assert await owner.tick(parts) == "ok"
        assert [model.id for model in parts.device.models()] == ["tiny-edge", "evil", "router"]


async def test_refused_channel_withdraws_nothing(owner: Owner) -> None:
    """A restored database, or a liar, lists less; what serves stays."""
    owner.cloud.publish(owner.cloud.make("router"), owner.cloud.make("other", 1))
    owner.sign()
    async with device(owner.settings, owner.clock, FakeLoader()) as parts:
        await owner.tick(parts)
        owner.cloud.channel = Channel("default", 9, ())
        assert await owner.tick(parts) == "channel_refused"
        assert [model.id for model in parts.device.models()] == ["tiny-edge", "other", "router"]


async def test_restored_database_deletes_nothing_until_the_owner_accepts(owner: Owner) -> None:
    """Documents and signatures of yesterday, both sound."""
    owner.cloud.publish(owner.cloud.make("router"))
    owner.sign()
    files, channel = dict(owner.cloud.files), owner.cloud.channel
    owner.cloud.publish(owner.cloud.make("other", 1))
    owner.sign()
    async with device(owner.settings, owner.clock, FakeLoader()) as parts:
        await owner.tick(parts)
        owner.cloud.files |= files
        owner.cloud.channel = channel
        assert await owner.tick(parts) == "channel_refused"
        assert "loragen-edge accept default" in parts.device.status().last_poll_message
        assert len(parts.device.models()) == 3
        await command(parts, "accept", "default")
        assert parts.device.status().last_poll == "ok"
        assert [model.id for model in parts.device.models()] == ["tiny-edge", "router"]


async def test_thief_who_ran_ahead_with_versions_is_left_behind_by_a_rotation(owner: Owner) -> None:
    """Nobody has to go to each device: the version of the document is void with the keys that signed it."""
    owner.cloud.publish(owner.cloud.make("router"))
    owner.sign()
    honest = owner.cloud.channel
    assert honest is not None
    async with device(owner.settings, owner.clock, FakeLoader()) as parts:
        assert await owner.tick(parts) == "ok"
        owner.cloud.channel = replace(honest, version=2**53 - 1)
        owner.sign()
        assert await owner.tick(parts) == "ok"
        owner.cloud.channel = honest
        owner.sign()
        assert await owner.tick(parts) == "channel_went_back"
        owner.repository.rotate("timestamp", "snapshot", "targets")
        owner.sign()
        assert await owner.tick(parts) == "ok"
        assert parts.device.status().channel_version == honest.version
        assert await ask(parts, "router")


async def test_signed_channel_for_another_base_fails_alone(owner: Owner) -> None:
    owner.cloud.publish(owner.cloud.make("router"))
    wrong = replace(owner.cloud.make("wrong", 1), edge_model_digest=sha256_hex(b"another model"))
    owner.cloud.publish(wrong)
    owner.sign()
    async with device(owner.settings, owner.clock, FakeLoader()) as parts:
        assert await owner.tick(parts) == "ok"
        assert (entry(parts, "wrong").state, entry(parts, "router").state) == ("failed", "adapter")


@pytest.mark.parametrize("what", ["bundle", "recipe", "bank"])
async def test_signed_digests_hold_for_everything_that_is_fetched(owner: Owner, what: str) -> None:
    """The channel is signed; what it names is another's."""
    wanted, evil = owner.cloud.make("router"), owner.cloud.make("evil", 1)
    owner.cloud.publish(wanted)
    owner.sign()
    if what == "bank":
        owner.cloud.fail("/generators/", change=lambda data: data[:-1] + bytes((data[-1] ^ 1,)))
    owner.cloud.bundles[wanted.bundle_id] = owner.cloud.bundles[evil.bundle_id]
    if what == "recipe":
        owner.cloud.recipes[recipe_of(wanted).id] = owner.cloud.recipes[recipe_of(evil).id]
    if what == "bundle":
        owner.cloud.recipes.clear()
    async with device(owner.settings, owner.clock, FakeLoader()) as parts:
        await owner.tick(parts)
        assert entry(parts, "router").state == "failed"
        assert "router" not in parts.slots.revisions()


async def test_restart_without_the_cloud_answers_with_what_was_signed(owner: Owner) -> None:
    owner.cloud.publish(owner.cloud.make("router"))
    owner.sign()
    async with device(owner.settings, owner.clock, FakeLoader()) as parts:
        await owner.tick(parts)
    owner.cloud.fail("/", status=500)
    async with device(owner.settings, owner.clock, FakeLoader()) as parts:
        assert await owner.tick(parts) == "cloud_status"
        assert await ask(parts, "router")


async def test_trust_that_is_set_up_later_takes_away_what_nobody_signed(
    owner: Owner, tiny_base: Path, tmp_path: Path
) -> None:
    """With a root, only what is signed stays; until the first signed channel the device goes on."""
    owner.cloud.publish(owner.cloud.make("unsigned"), owner.cloud.make("router", 1))
    before = make_settings(tmp_path / "edge", tiny_base, owner.cloud.url, max_merged=0)
    async with device(before, owner.clock, FakeLoader()) as parts:
        assert await owner.tick(parts) == "ok"
        assert not (tmp_path / "edge" / "trust").exists()
    async with device(owner.settings, owner.clock, FakeLoader()) as parts:
        assert await owner.tick(parts) == "channel_unsigned"
        assert len(parts.device.models()) == 3
        owner.cloud.unpublish("unsigned")
        owner.sign()
        assert await owner.tick(parts) == "ok"
        assert [model.id for model in parts.device.models()] == ["tiny-edge", "router"]


async def test_root_of_another_channel_follows_nothing(owner: Owner) -> None:
    owner.cloud.publish(owner.cloud.make("router"))
    owner.sign()
    other = SignedRepository({})
    assert owner.settings.trusted_root is not None
    owner.settings.trusted_root.write_bytes(other.first_root)
    async with device(owner.settings, owner.clock, FakeLoader()) as parts:
        assert await owner.tick(parts) == "channel_refused"
        assert len(parts.device.models()) == 1
        assert owner.cloud.asked(FOLDER) > 0


async def test_clock_that_jumps_by_years_stops_nothing_for_good(
    owner: Owner, set_clock: Callable[[timedelta], None]
) -> None:
    """A board without a battery starts in 1970, or far in the future, until it has heard the time."""
    owner.cloud.publish(owner.cloud.make("router"))
    owner.sign()
    async with device(owner.settings, owner.clock, FakeLoader()) as parts:
        assert await owner.tick(parts) == "ok"
        for years, outcome in ((20, "signature_expired"), (-50, "unchanged"), (0, "unchanged")):
            set_clock(timedelta(days=365 * years))
            owner.clock.jump(365 * 86_400.0 * years)
            owner.clock.advance(VERIFY_SECONDS)
            assert await owner.tick(parts) == outcome
            assert await ask(parts, "router")
            assert parts.updater.poller is not None
            assert parts.updater.poller.due_in() <= 11
        newer = owner.cloud.make("router", 1)
        owner.cloud.publish(newer)
        owner.sign()
        owner.clock.jump(-365 * 86_400.0 * 50)
        assert await owner.tick(parts) == "ok"
        assert entry(parts, "router").bundle_id == newer.bundle_id
    # And started with a clock of long ago, what served last serves again.
    async with device(owner.settings, owner.clock, FakeLoader()) as parts:
        assert (await ask(parts, "router"))[1] == f"adapter-{newer.bundle_id}"
