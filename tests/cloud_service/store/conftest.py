"""What the tests of stores share."""

from collections.abc import Iterator

import pytest

from tests.cloud_service.s3_server import S3Server


@pytest.fixture(scope="session")
def s3_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all tests."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.stop()


@pytest.fixture
def s3(s3_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server with an empty bucket, and the variables that say where it is."""
    s3_process.empty()
    s3_process.let_in(monkeypatch)
    return s3_process


@pytest.fixture
def every_failure_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look for the cause of one failure after the other."""
    monkeypatch.setattr("cloud_service.store.failures._SECONDS", 0.0)
