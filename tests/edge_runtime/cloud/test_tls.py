"""TLS towards the cloud: files that do not serve stop the start."""

from pathlib import Path

import pytest

from edge_runtime.cloud.tls import grpc_credentials, http_context
from edge_runtime.config import EdgeSettings
from loragen.web.errors import ConfigurationError
from tests.certificates import Authority, Pair


def edge_settings(url: str, authority: Authority, pair: Pair) -> EdgeSettings:
    """Settings of a device that shows a certificate, and trusts an authority alone."""
    return EdgeSettings.model_validate(
        {
            "cloud_url": url,
            "allow_unsigned": True,
            "cloud_ca_file": authority.file,
            "cloud_certificate": pair.certificate,
            "cloud_certificate_key": pair.key,
        }
    )


def test_device_with_files_that_do_not_serve_stops(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.sign("one"), authority.sign("other")
    for pair in (Pair(one.certificate, other.key), Pair(tmp_path / "absent", one.key)):
        with pytest.raises(ConfigurationError, match="TLS towards the cloud"):
            http_context(edge_settings("https://localhost:1", authority, pair))
    assert grpc_credentials(edge_settings("http://localhost:1", authority, one)) is None
