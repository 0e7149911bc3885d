"""Objects in a bucket of a real server that speaks S3: read and written, and every way in which that fails."""

import sys
import time

import pytest
from structlog.testing import capture_logs

from cloud_service.errors import StoreUnavailableError
from cloud_service.store.backends import open_objects
from cloud_service.store.bundles_apart import ObjectStorage
from loragen.web.errors import ConfigurationError
from tests.cloud_service.s3_server import BUCKET, S3Server

URL = f"s3://{BUCKET}/fleet"

pytestmark = pytest.mark.usefixtures("s3")


async def test_objects_are_written_replaced_listed_by_folder_and_deleted(s3: S3Server) -> None:
    objects = open_objects(URL, 2.0)
    before = time.time()
    for name, data in (("a/one", b"1"), ("a/two", b"22"), ("ab/three", b"333"), ("a/one", b"one")):
        await objects.put(name, data)
    assert s3.names() == ["fleet/a/one", "fleet/a/two", "fleet/ab/three"]
    assert [await objects.get(name) for name in ("a/one", "ab/three", "a/none")] == [b"one", b"333", None]
    listed = await objects.list_folder("a")
    assert sorted((each.name, each.size) for each in listed) == [("a/one", 3), ("a/two", 2)]
    assert all(abs(each.stored_at - before) < 60 for each in listed)
    await objects.delete(["a/one", "a/none"])
    assert s3.names() == ["fleet/a/two", "fleet/ab/three"]


async def test_object_that_is_larger_than_any_bundle_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_service.store.s3.MAX_BUNDLE_BYTES", 999)
    objects = open_objects(URL, 2.0)
    await objects.put("one", bytes(1000))
    with capture_logs() as logged:
        assert await objects.get("one") is None
    assert [line["event"] for line in logged] == ["stored_bundle_damaged"]


async def _verify_unavailable(objects: ObjectStorage, cause: str) -> None:
    """Every call fails in time; the log has the cause, once, and what clients read has not."""
    calls = (
        lambda: objects.put("one", b"bytes"),
        lambda: objects.get("one"),
        lambda: objects.list_folder("a"),
        lambda: objects.delete(["one"]),
    )
    with capture_logs() as logged:
        for call in calls:
            started = time.monotonic()
            with pytest.raises(StoreUnavailableError) as raised:
                await call()
            assert time.monotonic() - started < 3.0
            assert BUCKET not in f"{raised.value}{raised.value.hint}"
    assert {line["event"] for line in logged} == {"store_failed"}
    assert len({line["cause"] for line in logged}) == len(logged)
    assert all(cause in f"{line['cause']} {line['reason']}" for line in logged)
    assert "hunter2" not in str(logged)


async def test_bucket_that_is_not_there() -> None:
    await _verify_unavailable(open_objects("s3://another/fleet", 2.0), "404")


async def test_credentials_that_are_not_good(s3: S3Server) -> None:
    objects = open_objects(URL, 2.0)
    s3.refuse_everybody()
    try:
        await _verify_unavailable(objects, "403")
    finally:
        s3.let_everybody_in()
    await objects.put("one", b"bytes")


async def test_server_that_does_not_answer(s3: S3Server) -> None:
    objects = open_objects(URL, 0.5)
    s3.pause()
    try:
        await _verify_unavailable(objects, "TimeoutError")
    finally:
        s3.go_on()
    await objects.put("one", b"bytes")


async def test_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    await _verify_unavailable(open_objects(URL, 2.0), "error sending request")


def test_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cloud_service.store.s3", raising=False)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ConfigurationError, match="obstore") as raised:
        open_objects(URL, 1.0)
    assert raised.value.hint == "pip install 'loragen[s3]'"


def test_variable_that_is_no_good_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "perhaps")
    with pytest.raises(ConfigurationError, match=r"LORAGEN_CLOUD_BUNDLE_URL.*perhaps"):
        open_objects(URL, 1.0)
