"""The rule that a form is sent by a page of the service itself.

`hosts` is not enough for that: it also lets in pages of hosts that the operator names.
"""

from fastapi import Request

from loragen.web.errors import OriginError

_FROM_HERE = ("same-origin", "none")


def verify_own_page(request: Request) -> None:
    """Return when a form was not sent by a page of another origin.

    Browsers say whose page sends one: over HTTPS and on loopback by `Sec-Fetch-Site`, which is right even behind a
    proxy that gives the service another name; else by `Origin` alone.

    Raises:
        OriginError: It was.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_own = origin is None or origin.partition("://")[2] == request.headers.get("host")
    if site not in _FROM_HERE if site is not None else not is_own:
        raise OriginError("expected a form of this service, found one of another page", "open the page itself")
