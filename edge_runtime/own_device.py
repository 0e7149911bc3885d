"""The client of the device that these settings are for: where it answers, and what the command line shows it.

The key goes to the address that an operator names, too: it is what that operator's devices are asked with.
"""

import ipaddress
import ssl
from pathlib import Path

from edge_runtime.config import EdgeSettings
from loragen import DeviceClient
from loragen.web.errors import ConfigurationError


def own_url(settings: EdgeSettings) -> str:
    """Where a device of these settings answers a client on the same machine."""
    host = settings.host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name
        pass
    else:
        if address.is_unspecified:
            address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
        host = str(address) if address.version == 4 else f"[{address}]"
    return f"{'http' if settings.tls_files is None else 'https'}://{host}:{settings.port}"


def own_device(settings: EdgeSettings, url: str, timeout_seconds: float) -> DeviceClient:
    """A client of the device at `url`, which is asked once.

    Raises:
        ConfigurationError: The device's own certificate cannot be read.
        ClientError: There can be no device at such a URL.
    """
    key = None if settings.api_key is None else settings.api_key.get_secret_value()
    is_own = url == own_url(settings) and settings.tls_files is not None
    tls = _trusting(settings.tls_files.certificate) if is_own and settings.tls_files else None
    return DeviceClient(url, attempts=1, timeout_seconds=timeout_seconds, api_key=key, tls=tls)


def _trusting(certificate: Path) -> ssl.SSLContext:
    """Trusts this very certificate: it need not name the address of this machine, nor be the system's to trust."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(certificate)
    except OSError as error:
        raise ConfigurationError(
            f"LORAGEN_EDGE_TLS_CERTIFICATE: cannot read {certificate}: {error.strerror or error}"
        ) from error
    return context
