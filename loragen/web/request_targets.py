"""The target of a request in the forms that HTTP has besides a path (RFC 9112, section 3.2): a URL, and the asterisk.

A client that takes this service for a proxy, or a proxy that passes targets on, sends a whole URL. Its host then counts
in place of the header `Host`, so that the gate of the head judges the one that is asked.
"""

import re
from urllib.parse import unquote

from starlette.types import Scope

_URL = re.compile(rb"https?://([^/]*)", re.IGNORECASE)

SERVER_TARGET = "*"
"""The path of `OPTIONS *`, which asks about the server as a whole."""


def put_in_origin_form(scope: Scope) -> None:
    """Replace a URL as the target of a request by its path, and the header `Host` by its host."""
    if scope["path"].startswith("/") or (match := _URL.match(scope["raw_path"])) is None:
        return
    scope["raw_path"] = scope["raw_path"][match.end() :] or b"/"
    scope["path"] = unquote(scope["raw_path"].decode("ascii"))
    others = [(name, value) for name, value in scope["headers"] if name != b"host"]
    scope["headers"] = [(b"host", match[1]), *others]
