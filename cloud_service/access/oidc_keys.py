"""Adapter: the public keys of an OpenID provider, found by discovery and remembered.

Rules it keeps:
- Keys are fetched at an interval, by upkeep, and when a token names one that is not known. The second happens at most
  once in `PAUSE_SECONDS`, whatever clients send, and all calls that wait share one fetch.
- While the provider does not answer, the keys that are known go on working. What it answers counts: a key that it lists
  no more is forgotten.
- The document of discovery must name the issuer that the settings name. Nothing comes in the clear but from loopback,
  no redirect is followed, and answers have a limit in bytes and seconds.
- A key serves one family of signatures, that of its own type, and none that needs a shared secret.

Which tokens are good is decided by `oidc`.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, Self

import httpx2
import structlog
from jwt import PyJWK, PyJWTError

from cloud_service.access.token_rules import verify_url
from cloud_service.errors import UnavailableError
from loragen.version import package_version
from loragen.web.tls import client_context

_log = structlog.get_logger(__name__)

PAUSE_SECONDS = 10.0
"""Between two fetches because of keys that are not known. A new key is listed long before the first token has it."""

_FETCH_SECONDS = 5.0
"""For both documents together."""

_MOST_BYTES = 256 * 1024
"""Of one document. A key of 4,096 bits with its certificates takes some 5 kB, and providers list fewer than ten."""

_KEY_TYPES = MappingProxyType(
    {
        **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
        **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
        "EdDSA": "OKP",
    }
)

ALGORITHMS: Sequence[str] = tuple(_KEY_TYPES)
"""Those of public keys alone, so that nobody can sign with what is public."""


class IssuerKeys:
    """The keys of one issuer; to be closed.

    Args:
        issuer: URL, as its tokens say it.
        client: Fetches; closed with this.
        monotonic: Seconds of a clock that is never set.
    """

    def __init__(
        self, issuer: str, client: httpx2.AsyncClient, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer = issuer
        self._client = client
        self._monotonic = monotonic
        self._keys: list[dict[str, Any]] = []
        self._is_known = False  # whether the last fetch succeeded
        self._next_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    @classmethod
    def open(cls, issuer: str) -> Self:
        """The keys of an issuer whose certificate an authority of the system has signed."""
        headers = {"user-agent": f"loragen-cloud/{package_version()}", "accept": "application/json"}
        # Without redirects: whoever answers for the issuer must not send this service elsewhere.
        client = httpx2.AsyncClient(
            verify=client_context(None), headers=headers, timeout=_FETCH_SECONDS, follow_redirects=False
        )
        return cls(issuer, client)

    async def find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """The key that a token says it is signed with.

        Args:
            key_id: As the token names it; None names the only one that there is.
            algorithm: One of `ALGORITHMS`.

        Raises:
            UnavailableError: It is not known, and the provider does not answer.
        """
        found = self._select(key_id, algorithm)
        if found is None and (self._fetching is not None or self._monotonic() >= self._next_at):
            await self.refresh()
            found = self._select(key_id, algorithm)
        if found is None and not self._is_known:
            raise UnavailableError(
                "the provider of identity tokens does not answer, and the key of this token is not known yet",
                "ask again; API keys go on working",
                code="identity_provider_unavailable",
                retry_after_seconds=PAUSE_SECONDS,
            )
        return found

    async def refresh(self) -> None:
        """Fetch the keys. A failure is logged, and leaves those that are known."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(), name="keys of the issuer")
        # Others wait for the same fetch: it goes on when one of them hangs up.
        await asyncio.shield(self._fetching)

    async def aclose(self) -> None:
        """Stop fetching."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        await self._client.aclose()

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                keys = await self._discover()
        except (OSError, ValueError, RecursionError, httpx2.HTTPError, httpx2.InvalidURL) as e:
            self._is_known = False
            _log.warning("issuer_keys_not_fetched", issuer=self._issuer, reason=f"{type(e).__name__}: {str(e)[:300]}")
        else:
            self._keys, self._is_known = keys, True
            _log.debug("issuer_keys_fetched", issuer=self._issuer, keys=len(keys))
        finally:
            self._next_at, self._fetching = self._monotonic() + PAUSE_SECONDS, None

    async def _discover(self) -> list[dict[str, Any]]:
        about = await self._read(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if about.get("issuer") != self._issuer:
            raise ValueError(f"expected the issuer {self._issuer}, found {str(about.get('issuer'))[:200]!a}")
        url = about.get("jwks_uri")
        if not isinstance(url, str):
            raise ValueError("expected jwks_uri in the document of discovery, found none")
        listed = (await self._read(verify_url(url))).get("keys")
        if not isinstance(listed, list):
            raise ValueError(f"expected a list of keys at {url}, found none")
        return [key for key in listed if _is_usable(key)]

    async def _read(self, url: str) -> dict[str, Any]:
        data = bytearray()
        async with self._client.stream("GET", url) as response:
            if response.status_code != 200:
                raise ValueError(f"expected status 200 of {url}, found {response.status_code}")
            async for piece in response.aiter_bytes():
                data += piece
                if len(data) > _MOST_BYTES:
                    raise ValueError(f"expected at most {_MOST_BYTES} bytes of {url}, found more")
        document = json.loads(data)
        if not isinstance(document, dict):
            raise ValueError(f"expected a JSON object at {url}, found {type(document).__name__}")
        return document

    def _select(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        fitting = [
            key
            for key in self._keys
            if key["kty"] == _KEY_TYPES[algorithm]
            and (key.get("alg") or algorithm) == algorithm
            and key_id in (None, key.get("kid"))
        ]
        # Two that fit leave open which one is meant.
        return _made(fitting[0], algorithm) if len(fitting) == 1 else None


def _is_usable(key: Any) -> bool:
    """Whether tokens can be verified with a key: a public one, for signatures, and well-formed."""
    if not isinstance(key, dict) or key.get("use", "sig") != "sig" or "d" in key:
        return False
    if key.get("alg") not in (None, *ALGORITHMS):
        return False
    made = _made(key, None)
    return made is not None and made.algorithm_name in ALGORITHMS


def _made(key: dict[str, Any], algorithm: str | None) -> PyJWK | None:
    """A key for an algorithm, by default its own; None when it is damaged, or none for that."""
    try:
        return PyJWK(key, algorithm)
    except (PyJWTError, KeyError, TypeError, ValueError):
        return None
