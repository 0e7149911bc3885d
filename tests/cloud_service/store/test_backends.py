"""URLs of the store and of the place for bundles: which adapter they name, and which are refused."""

from pathlib import Path

import pytest

from cloud_service.store import Store
from cloud_service.store.backends import BACKENDS, open_store, verify_bundle_url, verify_store_url
from cloud_service.store.redis import RedisStore
from cloud_service.store.sqlite import SqliteStore
from loragen.web.errors import ConfigurationError
from tests.cloud_service.store_backends import LIMITS

EXAMPLES = {
    "sqlite": ("sqlite:///store.sqlite3", SqliteStore),
    "redis": ("redis://:hunter2@localhost:6379/0", RedisStore),
    "rediss": ("rediss://localhost", RedisStore),
    "unix": ("unix:///run/redis.sock?db=1", RedisStore),
}


@pytest.mark.parametrize("scheme", BACKENDS)
async def test_scheme_names_the_adapter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str) -> None:
    monkeypatch.chdir(tmp_path)
    url, adapter = EXAMPLES[scheme]
    store: Store = open_store(url, LIMITS)
    assert isinstance(store, adapter)
    await store.aclose()


@pytest.mark.parametrize("relative", [True, False])
async def test_path_of_a_file_is_relative_with_three_slashes_and_absolute_with_four(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, relative: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = "folder/a b?c#d%20.sqlite3" if relative else str(tmp_path / "folder" / "a b?c#d%20.sqlite3")
    await open_store(f"sqlite:///{path}", LIMITS).aclose()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["a b?c#d%20.sqlite3"]


@pytest.mark.parametrize(
    "url",
    ["", "store.sqlite3", "sqlite", "sqlite:", "sqlite://", "sqlite:///", "sqlite://store.sqlite3", "http://hunter2@x"],
)
def test_url_that_names_no_store_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="expected ") as caught:
        verify_store_url(url)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigurationError):
        open_store(url, LIMITS)


def test_malformed_redis_url_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigurationError, match="LORAGEN_CLOUD_STORE_URL") as caught:
        open_store("redis://localhost:hunter2", LIMITS)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://my-bucket.1/some/prefix"])
def test_bucket_with_or_without_a_prefix_is_a_place_for_bundles(url: str) -> None:
    assert verify_bundle_url(url) == url


@pytest.mark.parametrize(
    "url", ["", "bucket", "s3:", "s3://", "s3:///prefix", "s3://key:hunter2@bucket", "s3://bucket:9000", "https://x/b"]
)
def test_url_that_names_no_bucket_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="expected s3://bucket") as caught:
        verify_bundle_url(url)
    assert "hunter2" not in str(caught.value)
