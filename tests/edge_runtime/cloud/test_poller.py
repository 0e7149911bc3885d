"""When the cloud is asked, and what is kept of its answers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.cloud.fetcher import ChannelAnswer
from edge_runtime.cloud.poller import Poller
from edge_runtime.errors import CloudStatusError, CloudUnreachableError, TooLongError
from edge_runtime.telemetry import Telemetry
from loragen.contract.channel import Channel, encode_channel
from tests.edge_runtime.fakes import FakeClock


class ScriptedFetcher:
    """Answers with what stands next in its script."""

    def __init__(self, *script: ChannelAnswer | Exception) -> None:
        self.script = list(script)
        self.etags: list[str | None] = []

    async def fetch_channel(self, channel: str, etag: str | None) -> ChannelAnswer:
        self.etags.append(etag)
        answer = self.script.pop(0)
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


def make(*script: ChannelAnswer | Exception, draw: Callable[[], float] = lambda: 0.5) -> tuple[Poller, FakeClock]:
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
    poller, _ = make(GOOD, ChannelAnswer(None, '"one"'), refused, GOOD)
    codes = []
    for _ in range(4):
        await poller.poll()
        codes.append(poller.outcome.code)
    assert codes == ["ok", "unchanged", "invalid_format", "ok"]
    assert poller._source.etags == [None, '"one"', '"one"', '"one"']  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (CloudUnreachableError("x"), "cloud_unreachable"),
        (CloudStatusError("x", status=500), "cloud_status"),
        (TooLongError("x"), "download_too_long"),
    ],
)
async def test_failures_double_the_wait_and_keep_the_channel(failure: Exception, code: str) -> None:
    poller, _ = make(GOOD, *[failure] * 4, GOOD)
    await poller.poll()
    waits = []
    for _ in range(4):
        await poller.poll()
        waits.append(poller.due_in())
        assert poller.outcome.code == code
    assert waits == [7.5, 15.0, 30.0, 60.0]
    assert poller.wanted is not None
    await poller.poll()
    assert poller.due_in() == 10.0


async def test_retry_after_is_obeyed() -> None:
    poller, _ = make(CloudStatusError("x", status=503, retry_after_seconds=300.0))
    await poller.poll()
    assert poller.due_in() == 300.0


async def test_channel_that_is_not_there_is_no_trouble() -> None:
    poller, _ = make(CloudStatusError("x", status=404), CloudStatusError("x", status=404))
    for _ in range(2):
        await poller.poll()
        assert (poller.outcome.code, poller.due_in()) == ("channel_missing", 10.0)
    assert poller.wanted is None


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
