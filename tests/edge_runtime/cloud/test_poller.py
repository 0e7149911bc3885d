"""When the cloud is asked, and what is kept of its answers."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.cloud.fetcher import ChannelAnswer
from edge_runtime.cloud.poller import Poller
from edge_runtime.errors import CloudStatusError, CloudUnreachableError, TooLongError
from edge_runtime.telemetry import Telemetry
from loragen.contract.channel import Channel, encode_channel
from tests.edge_runtime.fakes import FakeClock


class ScriptedFetcher:
    """Answers with what stands next in its script; None stands for "unchanged"."""

    def __init__(self, *script: ChannelAnswer | Exception | None) -> None:
        self.script = list(script)
        self.etags: list[str | None] = []

    async def fetch_channel(self, channel: str, known: ChannelAnswer | None) -> ChannelAnswer:
        self.etags.append(None if known is None else known.etag)
        answer = self.script.pop(0) or known
        assert answer is not None
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def fetch_recipe(self, recipe_id: str, size: int) -> bytes:
        raise AssertionError("a poller reads channels only")

    async def download_bundle(self, bundle_id: str, size: int, destination: Path) -> None:
        raise AssertionError("a poller reads channels only")

    async def download_bank(self, generator_id: str, digest: str, max_bytes: int, destination: Path) -> None:
        raise AssertionError("a poller reads channels only")


DOCUMENT = encode_channel(Channel("default", 3, ()))
GOOD = ChannelAnswer(DOCUMENT, '"one"')


def make(
    *script: ChannelAnswer | Exception | None, draw: Callable[[], float] = lambda: 0.5
) -> tuple[Poller, FakeClock]:
    clock = FakeClock()
    return Poller("default", ScriptedFetcher(*script), 10.0, clock, draw, Telemetry()), clock


async def test_first_poll_is_due_at_once_and_the_next_after_the_interval() -> None:
    poller, clock = make(GOOD)
    assert poller.due_in() == 0
    await poller.poll()
    assert (poller.outcome.code, poller.due_in()) == ("ok", 10.0)
    assert poller.wanted is not None
    clock.advance(4)
    assert poller.due_in() == 6.0


async def test_etag_of_the_last_good_answer_is_sent() -> None:
    """An answer that was refused is asked for again in full, even when it had a new ETag."""
    refused = ChannelAnswer(b"{}", '"bad"')
    poller, _ = make(GOOD, None, refused, replace(GOOD))
    codes = []
    for _ in range(4):
        await poller.poll()
        codes.append(poller.outcome.code)
    assert codes == ["ok", "unchanged", "invalid_format", "ok"]
    assert poller._source.etags == [None, '"one"', '"one"', '"one"']  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("failure", "code", "fourth"),
    [
        (CloudUnreachableError("x"), "cloud_unreachable", 45.0),
        (CloudStatusError("x", status=500), "cloud_status", 60.0),
        (TooLongError("x"), "download_too_long", 60.0),
    ],
)
async def test_failures_double_the_wait_and_keep_the_channel(failure: Exception, code: str, fourth: float) -> None:
    poller, _ = make(GOOD, *[failure] * 4, GOOD)
    await poller.poll()
    waits = []
    for _ in range(4):
        await poller.poll()
        waits.append(poller.due_in())
        assert poller.outcome.code == code
    assert waits == [7.5, 15.0, 30.0, fourth]
    assert poller.wanted is not None
    await poller.poll()
    assert poller.due_in() == 10.0


async def test_retry_after_is_obeyed() -> None:
    poller, _ = make(CloudStatusError("x", status=503, retry_after_seconds=300.0))
    await poller.poll()
    assert poller.due_in() == 300.0


async def test_channel_that_is_not_there_is_no_error() -> None:
    poller, _ = make(CloudStatusError("x", status=404), CloudStatusError("x", status=404))
    for _ in range(2):
        await poller.poll()
        assert (poller.outcome.code, poller.due_in()) == ("channel_missing", 10.0)
    assert poller.wanted is None


async def test_channel_that_is_no_longer_there_is_said_to_be_gone() -> None:
    """Whoever holds a channel back may say that there is none."""
    poller, _ = make(CloudStatusError("x", status=404), GOOD, CloudStatusError("x", status=404))
    await poller.poll()
    assert poller.outcome.message.endswith("yet")
    await poller.poll()
    await poller.poll()
    assert (poller.outcome.code, "any more" in poller.outcome.message) == ("channel_missing", True)
    assert poller.wanted is not None


async def test_another_channels_document_is_refused() -> None:
    poller, _ = make(ChannelAnswer(encode_channel(Channel("other", 1, ())), None))
    await poller.poll()
    assert poller.outcome.code == "mismatch"
    assert poller.wanted is None


async def test_poll_now_does_not_shorten_the_wait_after_a_failure() -> None:
    """The poll at the end of the back-off brings the change; after it, `poll_now` polls at once again."""
    changed = ChannelAnswer(encode_channel(Channel("default", 4, ())), '"two"')
    poller, clock = make(GOOD, CloudStatusError("x", status=503, retry_after_seconds=60.0), changed)
    await poller.poll()
    poller.poll_now()
    assert poller.due_in() == 0
    await poller.poll()
    poller.poll_now()
    assert poller.due_in() == 60.0
    clock.advance(60.0)
    assert poller.due_in() == 0
    await poller.poll()
    assert poller.wanted == Channel("default", 4, ())
    poller.poll_now()
    assert poller.due_in() == 0


async def test_cloud_that_was_away_long_is_found_again_within_a_minute() -> None:
    """And one that keeps failing is spared for longer."""
    for failure, most in ((CloudUnreachableError("x"), 60.0), (CloudStatusError("x", status=500), 900.0)):
        poller, _ = make(*[failure] * 30, draw=lambda: 1.0)
        for _ in range(30):
            await poller.poll()
        assert poller.due_in() == most


async def test_watch_that_hears_of_a_change_ends_the_wait_for_a_silent_cloud() -> None:
    poller, _ = make(*[CloudUnreachableError("x")] * 4, GOOD)
    for _ in range(4):
        await poller.poll()
    assert poller.due_in() == 45.0
    poller.poll_now()
    assert poller.due_in() == 0


async def test_fleet_that_hears_of_a_change_does_not_poll_at_once() -> None:
    """Of 1,000 devices that follow a push within 5 s, no tenth of a second brings more than some."""
    drawn = random.Random(1)
    fleet = []
    for _ in range(1_000):
        poller, _ = make(GOOD, draw=drawn.random)
        await poller.poll()
        poller.poll_now(5.0)
        fleet.append(poller)
    tenths = Counter(int(poller.due_in() * 10) for poller in fleet)
    assert max(tenths) < 50
    assert max(tenths.values()) < 50
    assert len(tenths) == 50


async def test_second_change_does_not_put_the_poll_off() -> None:
    draws = iter([0.5, 0.2, 0.9])
    poller, _ = make(GOOD, draw=lambda: next(draws))
    await poller.poll()
    poller.poll_now(5.0)
    poller.poll_now(5.0)
    assert poller.due_in() == pytest.approx(1.0)


def version(number: int) -> ChannelAnswer:
    return ChannelAnswer(encode_channel(Channel("default", number, ())), f'"{number}"')


async def test_channel_that_went_back_is_a_fault_until_it_has_passed_what_was_seen() -> None:
    """The one that was seen stays in force, and the cloud is asked at the usual pace."""
    poller, _ = make(version(7), version(5), version(6), version(8))
    poller._newest_seen = lambda: 7
    outcomes = []
    for _ in range(4):
        await poller.poll()
        assert poller.wanted is not None
        outcomes.append((poller.outcome.code, poller.wanted.version, poller.heard_version, poller.due_in()))
    assert outcomes == [
        ("ok", 7, 7, 10.0),
        ("channel_went_back", 7, 5, 10.0),
        ("channel_went_back", 7, 6, 10.0),
        ("ok", 8, 8, 10.0),
    ]
    assert poller._source.etags == [None, '"7"', '"7"', '"7"']  # type: ignore[attr-defined]
