"""Coordinator: from the header `Authorization` to the caller, by an API key or a token of an OpenID provider (`oidc`).

What the store said of a key is believed for `_FRESH_SECONDS`. So most calls cost a hash and a look into a dictionary,
and a key that was revoked is refused by every replica that long afterwards.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import structlog

from cloud_service.access.caller import Caller
from cloud_service.access.keys import ApiKey, digest_of, id_of, parse_key
from cloud_service.errors import StoreUnavailableError, UnauthenticatedError
from cloud_service.store.access import KeyStore
from loragen.web.errors import ConfigurationError
from loragen.web.hosts import is_loopback
from loragen.web.log_limit import LogLimit

_log = structlog.get_logger(__name__)

Authentication = Literal["auto", "keys", "none"]

_FRESH_SECONDS = 3.0

_MOST_REMEMBERED = 20_000
"""Keys whose last look-up is remembered: 10 MB."""

_TOKEN = re.compile(r"[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]*", re.ASCII)
"""The form of a token, which no API key has."""

_HINT = "send Authorization: Bearer <API key>; an admin makes one with `loragen keys create`"


@dataclass(frozen=True, slots=True)
class _Remembered:
    key: ApiKey
    caller: Caller
    until: float


class OpenIdTokens(Protocol):
    """Knows the tokens of an OpenID provider."""

    async def identify(self, token: str) -> Caller:
        """Who holds a token. Raises UnauthenticatedError, and UnavailableError when that cannot be found out now."""
        ...

    async def refresh(self) -> None:
        """Ask the provider for its keys."""
        ...

    async def aclose(self) -> None:
        """Stop asking."""
        ...


class Authenticator:
    """Tells who calls.

    Args:
        store: Where keys are.
        authentication: `keys` asks for a key, `none` does not, `auto` does from the time on that there is one, or when
            there are tokens.
        tokens: Of an OpenID provider; None when none are good here.
        now: Unix seconds.
        monotonic: Seconds of a clock that is never set.
    """

    def __init__(
        self,
        store: KeyStore,
        authentication: Authentication = "auto",
        tokens: OpenIdTokens | None = None,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._authentication: Authentication = "keys" if tokens is not None else authentication
        self._tokens = tokens
        self._now = now
        self._monotonic = monotonic
        self._required = self._authentication == "keys"
        self._looked_until = float("-inf")
        self._remembered: dict[str, _Remembered] = {}
        self._log_limit = LogLimit()

    @property
    def required(self) -> bool:
        """Whether a call needs a key, as far as is known."""
        return self._required

    async def verify_start(self, host: str) -> None:
        """Return when a service may listen on an address.

        Raises:
            ConfigurationError: Others would reach it, and nobody has to show a key.
            StoreUnavailableError: The store does not say whether there are keys.
        """
        if self._authentication == "auto":
            self._required = await self._store.has_keys()
        if not self._required and self._authentication == "auto" and not is_loopback(host):
            raise ConfigurationError(
                f"expected a loopback address while there are no API keys, found {host}: whoever reaches it could "
                "publish to devices",
                "make the first key with `loragen keys bootstrap`, with the settings of this service; or set "
                "LORAGEN_CLOUD_AUTHENTICATION to keys, to start first, or to none, when something in front asks who "
                "calls",
            )
        if not self._required:
            _log.warning("authentication_off", host=host, reason="whoever reaches this address may do everything")

    async def identify(self, authorization: str | None) -> Caller:
        """Who sends this header; None without one.

        Raises:
            UnauthenticatedError: Nobody that is known.
            StoreUnavailableError: The store does not answer.
            UnavailableError: It is a token, and the keys of its issuer are not known.
        """
        if not self._required and not await self._look():
            return Caller()
        if not authorization:
            raise UnauthenticatedError("expected an API key, found none", _HINT)
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise UnauthenticatedError("expected Authorization: Bearer <API key>, found another scheme", _HINT)
        if self._tokens is not None and _TOKEN.fullmatch(token):
            return await self._tokens.identify(token)
        digest, now = digest_of(token), self._monotonic()
        remembered = self._remembered.get(digest)
        if remembered is None or remembered.until <= now:
            self._remembered.pop(digest, None)
            key = await self._find(token, digest)
            remembered = _Remembered(key, caller_of(key), now + _FRESH_SECONDS)
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[digest] = remembered
        state = remembered.key.state(self._now())
        if state != "active":
            raise _refused(f"the API key {remembered.key.id} is {state}", "ask an admin for another")
        return remembered.caller

    async def _find(self, token: str, digest: str) -> ApiKey:
        key_id = id_of(token)
        if key_id is None:
            raise _refused("expected an API key of this service, found something else", "was a part of it copied?")
        stored = await self._store.load_key(key_id)
        key = None if stored is None else parse_key(stored)
        if key is None or not key.is_key(digest):
            raise _refused("no such API key", "was it made for another service?")
        return key

    async def _look(self) -> bool:
        """Whether the first key was made since."""
        now = self._monotonic()
        if self._authentication == "auto" and self._looked_until <= now:
            self._looked_until = now + _FRESH_SECONDS
            try:
                self._required = await self._store.has_keys()
            except StoreUnavailableError:
                if (left_out := self._log_limit.pass_line("")) is not None:
                    _log.warning("keys_not_looked_up", left_out=left_out)
            if self._required:
                _log.info("authentication_begins", reason="the first API key was made")
        return self._required


def at_address(caller: Caller, address: str, request_id: str) -> Caller:
    """The caller of one call."""
    return replace(caller, address=address, request_id=request_id)


def caller_of(key: ApiKey) -> Caller:
    """Whoever shows this key."""
    return Caller(key.id, key.name, key.tenant, frozenset(key.scopes), key.device)


def _refused(message: str, hint: str) -> UnauthenticatedError:
    return UnauthenticatedError(message, hint, code="invalid_api_key")
