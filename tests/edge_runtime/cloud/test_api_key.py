"""The device's API key."""

import os
from pathlib import Path

import httpx2
import pytest

from edge_runtime.cloud.api_key import NO_KEY, BearerAuth, KeyFile, key_source
from edge_runtime.config import EdgeSettings
from loragen.web.errors import ConfigurationError

KEY = "loragen_abc_secret"


def _shown(source: object) -> str | None:
    request = httpx2.Request("GET", "http://localhost/")
    next(BearerAuth(source).auth_flow(request))  # type: ignore[arg-type]
    return request.headers.get("authorization")


def test_key_of_the_settings_is_shown_with_each_request_and_nowhere_else() -> None:
    settings = EdgeSettings(cloud_api_key=KEY)  # type: ignore[arg-type]
    assert _shown(key_source(settings)) == f"Bearer {KEY}"
    assert KEY not in repr(settings)
    assert KEY not in repr(key_source(settings))


def test_without_a_key_none_is_shown() -> None:
    assert key_source(EdgeSettings()) is NO_KEY
    assert _shown(NO_KEY) is None


def test_file_is_read_again_when_it_changes_and_the_last_key_stays_when_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    source = key_source(EdgeSettings(cloud_api_key_file=path))
    assert _shown(source) == f"Bearer {KEY}"
    path.write_text("loragen_abc_newer")
    os.utime(path, ns=(1, 1))
    assert _shown(source) == "Bearer loragen_abc_newer"
    path.unlink()
    assert _shown(source) == "Bearer loragen_abc_newer"
    path.write_text("a b")
    assert _shown(source) == "Bearer loragen_abc_newer"


@pytest.mark.parametrize("content", [b"", b"\n", b"two keys", b"two\nlines", b"\xff", b"a" * 9_000])
def test_file_without_a_key_stops_the_start_and_is_not_quoted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="CLOUD_API_KEY_FILE") as caught:
        KeyFile(path)
    assert "two" not in str(caught.value)


def test_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        KeyFile(tmp_path / "absent")


def test_key_that_cannot_stand_in_a_header_stops_the_start() -> None:
    with pytest.raises(ConfigurationError) as caught:
        key_source(EdgeSettings(cloud_api_key="a secret\n"))  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_two_keys_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one of them"):
        EdgeSettings(cloud_api_key=KEY, cloud_api_key_file=tmp_path / "key")  # type: ignore[arg-type]
