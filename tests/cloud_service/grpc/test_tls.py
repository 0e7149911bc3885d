"""Certificates of the gRPC server are looked at before each handshake."""

import os
import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cloud_service.grpc import tls
from loragen.web.errors import ConfigurationError
from loragen.web.tls import TlsFiles
from tests.certificates import Authority


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """A certificate, its key, and whom clients are to be trusted by."""
    authority = Authority(tmp_path)
    pair = authority.sign("server")
    return TlsFiles(pair.certificate, pair.key, authority.file)


def test_new_certificate_is_read_once(files: TlsFiles) -> None:
    fetch = tls._fetcher(files)
    assert fetch() is None, "nothing has changed"
    os.utime(files.certificate, ns=(1, 1))
    assert fetch() is not None
    assert fetch() is None


def test_certificate_that_is_gone_for_a_moment_leaves_the_old_one(files: TlsFiles) -> None:
    fetch = tls._fetcher(files)
    away = files.key.with_suffix(".away")
    shutil.move(files.key, away)
    with capture_logs() as logged:
        for _ in range(20):
            assert fetch() is None
    assert [each["event"] for each in logged] == ["certificate_not_reloaded"]
    shutil.copy(away, files.key)
    assert fetch() is not None


def test_files_that_are_not_there_stop_the_start(files: TlsFiles) -> None:
    files.certificate.unlink()
    with pytest.raises(ConfigurationError, match="TLS"):
        tls.server_credentials(files)
