"""The HTTP adapter against a server that misbehaves."""

from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx2
import pytest

from edge_runtime.cloud.fetcher import ChannelAnswer, HttpFetcher
from edge_runtime.errors import (
    CloudStatusError,
    CloudUnreachableError,
    DigestMismatchError,
    DownloadError,
    OutputError,
    TooLongError,
    UpdateError,
)
from loragen.contract.polling import POLL_HEADERS, PollingDevice, poll_headers
from tests.edge_runtime.fake_cloud import GENERATOR_ID, FakeCloud, recipe_of
from tests.edge_runtime.fakes import files
from tests.full_disk import full_disk

NOW = 1_700_000_000.0


@pytest.fixture
async def fetcher(cloud: FakeCloud) -> AsyncIterator[HttpFetcher]:
    async with httpx2.AsyncClient(base_url=cloud.url, timeout=20.0) as client:
        yield HttpFetcher(client, deadline_seconds=30.0, now=lambda: NOW)


async def test_unchanged_channel_is_not_sent_again(cloud: FakeCloud, fetcher: HttpFetcher) -> None:
    cloud.publish(cloud.make("router"))
    first = await fetcher.fetch_channel("default", None)
    assert await fetcher.fetch_channel("default", first) is first
    cloud.publish(cloud.make("other", 1))
    again = await fetcher.fetch_channel("default", first)
    assert again.document != first.document


@pytest.mark.parametrize("known", [None, ChannelAnswer(b"{}", None)])
async def test_unchanged_is_no_answer_to_who_did_not_ask_for_changes(
    cloud: FakeCloud, fetcher: HttpFetcher, known: ChannelAnswer | None
) -> None:
    cloud.fail("/channels/", status=304)
    with pytest.raises(CloudStatusError) as caught:
        await fetcher.fetch_channel("default", known)
    assert caught.value.status == 304


@pytest.mark.parametrize(
    "portal",
    [
        {"status": 302, "headers": {"Location": "http://login.example/"}},
        {"status": 511},
        {"headers": {"Content-Type": "text/html; charset=utf-8"}, "change": lambda _: b"<html>Please log in</html>"},
    ],
)
async def test_network_that_wants_a_login_is_no_answer_of_the_cloud(
    cloud: FakeCloud, fetcher: HttpFetcher, portal: dict[str, Any], tmp_path: Path
) -> None:
    """So the device asks again within the minute, and keeps nothing of the page."""
    cloud.publish(wanted := cloud.make("router"))
    cloud.fail("/", **portal)
    with pytest.raises(CloudUnreachableError) as caught:
        await fetcher.fetch_channel("default", None)
    assert "login" in caught.value.hint
    with pytest.raises(CloudUnreachableError):
        await fetcher.download_bundle(wanted.bundle_id, wanted.bundle_bytes, tmp_path / "bundles/one")
    assert files(tmp_path / "bundles") == set()


async def test_certificate_that_is_refused_asks_for_the_clock() -> None:
    def refuse(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired")

    async with httpx2.AsyncClient(base_url="https://cloud", transport=httpx2.MockTransport(refuse)) as client:
        with pytest.raises(CloudUnreachableError, match="certificate has expired") as caught:
            await HttpFetcher(client, deadline_seconds=30.0, now=lambda: NOW).fetch_channel("default", None)
    assert "clock" in caught.value.hint


async def test_pause_that_the_cloud_asks_for_is_said(cloud: FakeCloud, fetcher: HttpFetcher) -> None:
    cloud.fail("/channels/", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(CloudStatusError, match="answers 429 and asks for a pause of 3600 s") as caught:
        await fetcher.fetch_channel("default", None)
    assert caught.value.retry_after_seconds == 3600


async def test_poll_says_who_asks_and_a_download_does_not(cloud: FakeCloud) -> None:
    identify = lambda: poll_headers(PollingDevice("toaster", {"ring": "canary"}, 3))  # noqa: E731
    recipe = recipe_of(specialization := cloud.make("router"))
    cloud.publish(specialization)
    async with httpx2.AsyncClient(base_url=cloud.url, timeout=20.0) as client:
        fetcher = HttpFetcher(client, deadline_seconds=30.0, now=lambda: NOW, identify=identify)
        await fetcher.fetch_channel("default", None)
        await fetcher.fetch_recipe(recipe.id, recipe.bytes)
    polled, downloaded = ({name.lower(): text for name, text in headers.items()} for _, headers in cloud.requests)
    assert {name: polled.get(name) for name in POLL_HEADERS} == identify()
    assert not downloaded.keys() & set(POLL_HEADERS)


@pytest.mark.parametrize("status", [204, 400, 401, 404, 410, 429, 500])
async def test_status_is_kept_in_the_error(cloud: FakeCloud, fetcher: HttpFetcher, status: int) -> None:
    cloud.fail("/channels/", status=status, headers={"Location": "http://127.0.0.1:1/"})
    with pytest.raises(CloudStatusError) as caught:
        await fetcher.fetch_channel("default", None)
    assert caught.value.status == status
    assert caught.value.retry_after_seconds is None


@pytest.mark.parametrize(("header", "seconds"), [("17", 17.0), (formatdate(NOW + 40, usegmt=True), 40.0)])
async def test_retry_after_is_read_in_both_forms(
    cloud: FakeCloud, fetcher: HttpFetcher, header: str, seconds: float
) -> None:
    cloud.fail("/channels/", status=503, headers={"Retry-After": header})
    with pytest.raises(CloudStatusError) as caught:
        await fetcher.fetch_channel("default", None)
    assert caught.value.retry_after_seconds == seconds


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_gateway_that_gets_no_answer_of_the_cloud_is_no_answer(
    cloud: FakeCloud, fetcher: HttpFetcher, status: int
) -> None:
    """An ingress answers so while no replica runs; the cloud itself always says when to come back."""
    cloud.fail("/channels/", status=status)
    with pytest.raises(CloudUnreachableError, match=str(status)):
        await fetcher.fetch_channel("default", None)


async def test_request_id_is_shown_without_what_a_terminal_obeys(cloud: FakeCloud, fetcher: HttpFetcher) -> None:
    cloud.fail("/channels/", status=500, headers={"X-Request-ID": "a\x1b]0;title\x07"})
    with pytest.raises(CloudStatusError) as caught:
        await fetcher.fetch_channel("default", None)
    assert caught.value.hint.endswith("a\\x1b]0;title\\x07")


async def test_cloud_that_hangs_up_or_does_not_listen_is_unreachable(fetcher: HttpFetcher, cloud: FakeCloud) -> None:
    cloud.fail("/channels/", hang_up=True)
    with pytest.raises(CloudUnreachableError):
        await fetcher.fetch_channel("default", None)
    async with httpx2.AsyncClient(base_url="http://127.0.0.1:9", timeout=1.0) as client:
        with pytest.raises(CloudUnreachableError):
            await HttpFetcher(client, 1.0, lambda: NOW).fetch_channel("default", None)


async def test_slow_cloud_is_given_up(cloud: FakeCloud) -> None:
    cloud.publish(cloud.make("router"))
    cloud.fail("/channels/", delay_seconds=1.0)
    async with httpx2.AsyncClient(base_url=cloud.url, timeout=0.1) as client:
        with pytest.raises(CloudUnreachableError, match="in time"):
            await HttpFetcher(client, 5.0, lambda: NOW).fetch_channel("default", None)
    async with httpx2.AsyncClient(base_url=cloud.url, timeout=5.0) as client:
        with pytest.raises(CloudUnreachableError, match="in time"):
            await HttpFetcher(client, 0.1, lambda: NOW).fetch_channel("default", None)


async def test_endless_body_is_cut_at_its_limit(cloud: FakeCloud, fetcher: HttpFetcher, tmp_path: Path) -> None:
    wanted = cloud.make("router")
    cloud.fail("/recipes/", change=lambda data: data * 50)
    with pytest.raises(TooLongError):
        await fetcher.fetch_recipe(recipe_of(wanted).id, recipe_of(wanted).bytes)
    cloud.fail("/bundles/", change=lambda data: data * 50)
    with pytest.raises(TooLongError):
        await fetcher.download_bundle(wanted.bundle_id, wanted.bundle_bytes, tmp_path / "b")
    assert not (tmp_path / "b").exists()


async def test_compressed_body_is_refused(cloud: FakeCloud, fetcher: HttpFetcher) -> None:
    """A kilobyte could unfold to gigabytes; we ask for bodies as they are and take no others."""
    cloud.publish(cloud.make("router"))
    cloud.fail("/channels/", headers={"Content-Encoding": "gzip"})
    with pytest.raises(DownloadError, match="gzip"):
        await fetcher.fetch_channel("default", None)


async def test_short_recipe_is_refused(cloud: FakeCloud, fetcher: HttpFetcher) -> None:
    wanted = cloud.make("router")
    cloud.fail("/recipes/", change=lambda data: data[:-1])
    with pytest.raises(DownloadError):
        await fetcher.fetch_recipe(recipe_of(wanted).id, recipe_of(wanted).bytes)
    cloud.heal()
    cloud.fail("/recipes/", cut_after=10)
    with pytest.raises(DownloadError):
        await fetcher.fetch_recipe(recipe_of(wanted).id, recipe_of(wanted).bytes)


async def test_changed_recipe_is_refused(cloud: FakeCloud, fetcher: HttpFetcher) -> None:
    wanted = cloud.make("router")
    cloud.fail("/recipes/", change=lambda data: data[:-1] + bytes([data[-1] ^ 128]))
    with pytest.raises(DigestMismatchError):
        await fetcher.fetch_recipe(recipe_of(wanted).id, recipe_of(wanted).bytes)


async def test_download_cut_again_and_again_is_resumed(cloud: FakeCloud, fetcher: HttpFetcher, tmp_path: Path) -> None:
    """Each attempt goes on where the one before was cut, and the whole has the announced digest."""
    wanted = cloud.make("router")
    step = wanted.bundle_bytes // 4 + 1
    cloud.fail("/bundles/", cut_after=step)
    await fetcher.download_bundle(wanted.bundle_id, wanted.bundle_bytes, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == cloud.bundles[wanted.bundle_id]
    ranges = [headers.get("Range") for path, headers in cloud.requests]
    assert ranges == [None, *(f"bytes={count * step}-" for count in (1, 2, 3))]


async def test_download_resumes_in_a_later_attempt(cloud: FakeCloud, fetcher: HttpFetcher, tmp_path: Path) -> None:
    wanted = cloud.make("router")
    cloud.fail("/bundles/", cut_after=1_000, times=1)
    cloud.fail("/bundles/", status=500, times=1)
    with pytest.raises(CloudStatusError):
        await fetcher.download_bundle(wanted.bundle_id, wanted.bundle_bytes, tmp_path / "b")
    await fetcher.download_bundle(wanted.bundle_id, wanted.bundle_bytes, tmp_path / "b")
    assert cloud.requests[-1][1]["Range"] == "bytes=1000-"
    assert (tmp_path / "b").read_bytes() == cloud.bundles[wanted.bundle_id]


async def test_download_that_gets_nowhere_ends(cloud: FakeCloud, fetcher: HttpFetcher, tmp_path: Path) -> None:
    wanted = cloud.make("router")
    cloud.fail("/bundles/", cut_after=0)
    with pytest.raises(UpdateError):
        await fetcher.download_bundle(wanted.bundle_id, wanted.bundle_bytes, tmp_path / "b")
    assert len(cloud.requests) == 1


async def test_partial_file_of_other_bytes_is_thrown_away(
    cloud: FakeCloud, fetcher: HttpFetcher, tmp_path: Path
) -> None:
    """What an earlier attempt left is trusted only through the digest of the whole."""
    wanted = cloud.make("router")
    (tmp_path / f"{wanted.bundle_id}.part").write_bytes(b"x" * 500)
    with pytest.raises(DigestMismatchError):
        await fetcher.download_bundle(wanted.bundle_id, wanted.bundle_bytes, tmp_path / "b")
    await fetcher.download_bundle(wanted.bundle_id, wanted.bundle_bytes, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == cloud.bundles[wanted.bundle_id]


@pytest.mark.parametrize("extra", [b"", b"too much"])
async def test_partial_file_that_is_whole_or_too_long(
    cloud: FakeCloud, fetcher: HttpFetcher, tmp_path: Path, extra: bytes
) -> None:
    wanted = cloud.make("router")
    (tmp_path / f"{wanted.bundle_id}.part").write_bytes(cloud.bundles[wanted.bundle_id] + extra)
    await fetcher.download_bundle(wanted.bundle_id, wanted.bundle_bytes, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == cloud.bundles[wanted.bundle_id]
    assert not (tmp_path / f"{wanted.bundle_id}.part").exists()


async def test_server_without_ranges_starts_the_download_anew(
    cloud: FakeCloud, fetcher: HttpFetcher, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    (tmp_path / f"{wanted.bundle_id}.part").write_bytes(b"y" * 700)
    cloud.ranges = False
    await fetcher.download_bundle(wanted.bundle_id, wanted.bundle_bytes, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == cloud.bundles[wanted.bundle_id]


async def test_bank_over_the_limit_is_refused_before_it_comes(
    cloud: FakeCloud, fetcher: HttpFetcher, tmp_path: Path
) -> None:
    with pytest.raises(TooLongError, match="announces"):
        await fetcher.download_bank(GENERATOR_ID, cloud.bank.digest, 1_000, tmp_path / "bank")
    assert not (tmp_path / f"{cloud.bank.digest}.part").exists()
    await fetcher.download_bank(GENERATOR_ID, cloud.bank.digest, len(cloud.bank_bytes), tmp_path / "bank")
    assert (tmp_path / "bank").read_bytes() == cloud.bank_bytes


@pytest.mark.parametrize("announced", [True, False])
async def test_download_that_cannot_be_completed_leaves_nothing(
    cloud: FakeCloud, fetcher: HttpFetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announced: bool
) -> None:
    """Not even what an attempt before brought: noticed beforehand, or when the disk is full."""
    wanted = cloud.make("router")
    partial = tmp_path / f"{wanted.bundle_id}.part"
    partial.write_bytes(cloud.bundles[wanted.bundle_id][:1_000])
    if announced:
        monkeypatch.setattr("edge_runtime.cloud.fetcher.free_bytes", lambda _: wanted.bundle_bytes)
    with pytest.raises(OutputError) as caught, full_disk(10_000_000 if announced else 5_000):
        await fetcher.download_bundle(wanted.bundle_id, wanted.bundle_bytes, tmp_path / "b", 1_500)
    assert ("are free" in str(caught.value)) is announced
    assert not [name for name in files(tmp_path) if name.endswith(".part")]
    assert len([1 for path, _ in cloud.requests if path.startswith("/bundles/")]) == 1


async def test_download_that_brought_nothing_leaves_no_empty_file(
    cloud: FakeCloud, fetcher: HttpFetcher, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    cloud.fail("/bundles/", cut_after=0)
    with pytest.raises(DownloadError):
        await fetcher.download_bundle(wanted.bundle_id, wanted.bundle_bytes, tmp_path / "b")
    assert not [name for name in files(tmp_path) if name.endswith(".part")]


async def test_unwritable_destination_is_an_output_error(
    cloud: FakeCloud, fetcher: HttpFetcher, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        await fetcher.download_bundle(wanted.bundle_id, wanted.bundle_bytes, tmp_path / "file" / "b")


@pytest.mark.parametrize("etag", ['"\xe9"', '"' + "x" * 10_000 + '"'])
async def test_etag_that_cannot_be_sent_back_is_forgotten(cloud: FakeCloud, fetcher: HttpFetcher, etag: str) -> None:
    cloud.publish(cloud.make("router"))
    cloud.fail("/channels/", headers={"ETag": etag})
    first = await fetcher.fetch_channel("default", None)
    assert first.etag is None
    again = await fetcher.fetch_channel("default", first)
    assert again is not first
    assert again.document == first.document


async def test_deadline_is_for_a_download_with_all_its_resumes(cloud: FakeCloud, tmp_path: Path) -> None:
    wanted = cloud.make("router")
    cloud.fail("/bundles/", cut_after=wanted.bundle_bytes // 4 + 1, delay_seconds=0.5)
    async with httpx2.AsyncClient(base_url=cloud.url, timeout=20.0) as client:
        with pytest.raises(CloudUnreachableError):
            await HttpFetcher(client, 1.2, lambda: NOW).download_bundle(
                wanted.bundle_id, wanted.bundle_bytes, tmp_path / "b"
            )
