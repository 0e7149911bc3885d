"""TLS towards the cloud, read at the start: over HTTP when its URL is https, and over gRPC then too."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge_runtime.config import EdgeSettings
from loragen.web.errors import ConfigurationError
from loragen.web.tls import client_context


def http_context(settings: EdgeSettings) -> ssl.SSLContext:
    """Whom the device trusts, and what it shows.

    Raises:
        ConfigurationError: A file cannot be read, or the certificate and its key do not belong together.
    """
    if not _is_https(settings) and settings.cloud_ca_file is None and settings.cloud_certificate is None:
        # Without the system's certificates, which take 3 MB: it trusts nobody, and nobody is asked over TLS.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with _reported():
        return client_context(settings.cloud_ca_file, settings.cloud_certificate, settings.cloud_certificate_key)


def grpc_credentials(settings: EdgeSettings) -> Any:
    """The same for gRPC; None for a connection in the clear.

    Raises:
        ConfigurationError: A file cannot be read.
    """
    import grpc

    if not _is_https(settings):
        return None
    paths = (settings.cloud_ca_file, settings.cloud_certificate_key, settings.cloud_certificate)
    with _reported():
        return grpc.ssl_channel_credentials(*(None if path is None else path.read_bytes() for path in paths))


def _is_https(settings: EdgeSettings) -> bool:
    return settings.cloud_url is not None and settings.cloud_url.scheme == "https"


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as e:
        raise ConfigurationError(
            f"TLS towards the cloud: {e}",
            "check LORAGEN_EDGE_CLOUD_CA_FILE, LORAGEN_EDGE_CLOUD_CERTIFICATE and LORAGEN_EDGE_CLOUD_CERTIFICATE_KEY",
        ) from e
