"""Values: what the settings say of tokens of an OpenID provider. No I/O, and no library for tokens."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from loragen.web.hosts import is_loopback


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Which tokens are good here, and where they say what their holder may do.

    Attributes:
        issuer: URL of the OpenID provider, as its tokens say it.
        audience: What tokens for this service have as `aud`.
        scopes_claim: The claim with the scopes: a text with spaces between them, or a list. Dots lead into objects.
        scope_prefix: What stands before each scope there; those without it are for other services.
        tenant_claim: The claim with the tenant; empty where there are none, and tokens are the operator's.
    """

    issuer: str
    audience: str
    scopes_claim: str = "scope"
    scope_prefix: str = ""
    tenant_claim: str = ""


def verify_url(url: str) -> str:
    """The URL, when what it answers can be trusted.

    Raises:
        ValueError: It is none of an OpenID provider, or leads over a network in the clear.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment or not url.isprintable():
        raise ValueError("expected the URL of an OpenID provider, without a user, a query and a fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError(f"expected a URL that starts with https://, found {parts.scheme[:20]!a}")
    return url
