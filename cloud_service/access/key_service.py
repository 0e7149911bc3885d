"""Coordinator: makes API keys, lists, rotates and revokes them.

An admin of a tenant sees and makes keys of that tenant alone; the operator's see and make all. Everything that is done
is in the audit log.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from cloud_service.access.audit import Audit
from cloud_service.access.caller import current_caller
from cloud_service.access.keys import ANY_DEVICE, ApiKey, digest_of, encode_key, make_token, parse_key
from cloud_service.access.scopes import Scope
from cloud_service.errors import (
    ConflictError,
    ForbiddenError,
    IntegrityError,
    InvalidRequestError,
    NotFoundError,
    UsageLimitError,
)
from cloud_service.limits import STORAGE_AGAIN_SECONDS
from cloud_service.store.access import KeyStore, Share
from loragen.contract.errors import ContractError
from loragen.contract.names import verify_device_name, verify_name

_log = structlog.get_logger(__name__)

_MAX_ATTEMPTS = 5
_MOST_SCANNED = 1_000


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What key to make.

    Attributes:
        name: For people.
        scopes: What it is good for.
        tenant: Whose it is; empty for the caller's own tenant.
        device: The only device that it speaks for, or `*`; a key with the scope `device` has one, no other has.
        lifetime_seconds: None for a key that does not expire.
    """

    name: str
    scopes: tuple[Scope, ...]
    tenant: str = ""
    device: str = ""
    lifetime_seconds: int | None = None


class KeyService:
    """Keeps the keys of a service.

    Args:
        store: Where they are.
        audit: Hears of each change.
        now: Unix seconds.
        kept_seconds: How long a key that was revoked or has expired stays listed; 0 for ever.
        begins_with_first: Whether the service asks for keys from its first one on. Then that must be one whose holder
            can make others.
    """

    def __init__(
        self,
        store: KeyStore,
        audit: Audit,
        now: Callable[[], float] = time.time,
        *,
        kept_seconds: float = 0,
        begins_with_first: bool = False,
    ) -> None:
        self._kept_seconds = kept_seconds
        self._begins_with_first = begins_with_first
        self._store = store
        self._audit = audit
        self._now = now

    async def create(self, request: KeyRequest) -> tuple[str, ApiKey]:
        """Make a key; the text is the key itself, which nothing can show again.

        Raises:
            InvalidRequestError: The request makes no sense.
            ForbiddenError: It is for another tenant.
            UsageLimitError: The tenant has as many keys as it may have, and none of them has ended.
            StoreUnavailableError: The store does not answer.
        """
        tenant = _verify_tenant(request.tenant)
        _verify(request)
        if self._begins_with_first and not current_caller().key_id and not await self._store.has_keys():
            _verify_first(request)
        expires_at = None if request.lifetime_seconds is None else int(self._now()) + request.lifetime_seconds
        scopes = tuple(scope for scope in Scope if scope in request.scopes)
        made = await self._make(request.name, scopes, tenant, request.device, expires_at)
        await self._record("key.create", made[1])
        return made

    async def page(self, limit: int, after: str = "") -> tuple[list[ApiKey], str | None]:
        """A page of the caller's keys by id, and what `after` has to be for the next one, None on the last.

        A key that is damaged in the store is left out.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        records = await self._store.list_keys(limit, after, current_caller().tenant)
        listed = [key for key in map(_readable, records) if key is not None]
        return listed, listed[-1].id if listed and len(records) == limit else None

    async def share(self) -> Share | None:
        """How many keys the caller's tenant has; None for the operator.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        tenant = current_caller().tenant
        return await self._store.key_share(tenant) if tenant else None

    async def rotate(self, key_id: str, grace_seconds: int) -> tuple[str, ApiKey]:
        """Make a key like another one, which expires after a while, or sooner if it was to.

        Raises:
            NotFoundError: There is no such key.
            InvalidRequestError: It is not good any more.
            UsageLimitError: As for `create`.
            ConflictError: It changes all the time.
            StoreUnavailableError: The store does not answer.
        """
        now = int(self._now())
        old = await self._find(key_id)
        if (state := old.state(now)) != "active":
            raise InvalidRequestError(f"expected a key that is active, {key_id} is {state}", "make another")
        made = await self._make(old.name, old.scopes, old.tenant, old.device, old.expires_at)
        end = now + grace_seconds
        await self._change(key_id, lambda key: replace(key, expires_at=min(key.expires_at or end, end)))
        await self._record("key.rotate", old, made[1].id)
        return made

    async def revoke(self, key_id: str) -> ApiKey:
        """Let a key be refused from now on. Doing it twice changes nothing.

        Raises:
            NotFoundError, ConflictError, StoreUnavailableError: As for `rotate`.
        """
        await self._find(key_id)
        now = int(self._now())
        revoked = await self._change(key_id, lambda key: replace(key, revoked_at=key.revoked_at or now))
        await self._record("key.revoke", revoked)
        return revoked

    async def prune(self) -> int:
        """Forget the keys that were good for the last time long ago; what was done with them stays in the audit log.

        Returns:
            How many.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        oldest, forgotten, after = self._now() - self._kept_seconds, 0, ""
        while self._kept_seconds:
            records = await self._store.list_keys(_MOST_SCANNED, after)
            keys = [(record, key) for record in records if (key := _readable(record)) is not None]
            for record, key in keys:
                if key.ends_at is not None and key.ends_at < oldest:
                    forgotten += await self._store.forget_key(key.id, record, key.tenant)
            if len(records) < _MOST_SCANNED or not keys:
                break
            after = keys[-1][1].id
        return forgotten

    async def _make(
        self, name: str, scopes: tuple[Scope, ...], tenant: str, device: str, expires_at: int | None
    ) -> tuple[str, ApiKey]:
        for _ in range(_MAX_ATTEMPTS):
            token, key_id = make_token()
            key = ApiKey(key_id, digest_of(token), name, scopes, tenant, device, int(self._now()), expires_at)
            if await self._store.swap_key(key_id, None, encode_key(key), tenant, key.ends_at):
                return token, key
            if tenant and (share := await self._store.key_share(tenant)).lacks(1):
                raise UsageLimitError(
                    f"expected at most {share.most} API keys of one tenant that are active, found one more",
                    "revoke some, or let the operator raise LORAGEN_CLOUD_KEYS_PER_TENANT",
                    code="too_many_keys",
                    retry_after_seconds=STORAGE_AGAIN_SECONDS,
                )
        raise ConflictError("no free id for a key", "try again")

    async def _find(self, key_id: str) -> ApiKey:
        stored = await self._store.load_key(key_id)
        key = None if stored is None else parse_key(stored)
        if key is None or current_caller().tenant not in ("", key.tenant):
            raise NotFoundError(f"no API key {key_id}", "list them", code="key_not_found")
        return key

    async def _change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        for _ in range(_MAX_ATTEMPTS):
            stored = await self._store.load_key(key_id)
            if stored is None:
                raise NotFoundError(f"no API key {key_id}", "list them", code="key_not_found")
            changed = change(parse_key(stored))
            if await self._store.swap_key(key_id, stored, encode_key(changed), changed.tenant, changed.ends_at):
                return changed
        raise ConflictError(f"API key {key_id} changed {_MAX_ATTEMPTS} times while this change was tried", "try again")

    async def _record(self, action: str, key: ApiKey, successor: str = "") -> None:
        target = {"key": key.id, "name": key.name, "scopes": " ".join(key.scopes)}
        more = {"tenant": key.tenant, "device": key.device, "successor": successor}
        await self._audit.record(action, **target, **{field: text for field, text in more.items() if text})


def _readable(record: bytes) -> ApiKey | None:
    try:
        return parse_key(record)
    except IntegrityError as e:
        _log.error("stored_key_damaged", reason=str(e))
        return None


def _verify_tenant(wanted: str) -> str:
    own = current_caller().tenant
    if own and wanted not in ("", own):
        raise ForbiddenError(f"expected a key for tenant {own!r}, whose admin calls, found another tenant")
    return wanted or own


def _verify(request: KeyRequest) -> None:
    if not request.scopes:
        raise InvalidRequestError(f"scopes: expected one of {', '.join(Scope)}, found none")
    if (Scope.DEVICE in request.scopes) != bool(request.device):
        raise InvalidRequestError(
            "expected the scope device together with the name of a device, found one of them",
            f"name the device that the key is for, or {ANY_DEVICE} for all that share it",
        )
    if request.device and set(request.scopes) != {Scope.DEVICE}:
        raise InvalidRequestError("expected no other scope than device in a device's key")
    try:
        if request.tenant:
            _verify_tenant_name(request.tenant)
        if request.device not in ("", ANY_DEVICE):
            verify_device_name(request.device)
    except ContractError as e:
        raise InvalidRequestError(str(e), e.hint, code="invalid_name") from e


def _verify_first(request: KeyRequest) -> None:
    if Scope.ADMIN not in request.scopes or request.tenant:
        raise InvalidRequestError(
            "expected the first key to have the scope admin, and no tenant: from then on every call needs a key, and "
            "without an admin nobody could make another",
            "make an admin's key first, then this one with it",
            code="first_key_not_admin",
        )


def _verify_tenant_name(name: str) -> None:
    verify_name(name)
    if "." in name:
        raise InvalidRequestError(
            f"tenant: expected a name without dots, found {name!r}",
            "channels of a tenant begin with its name and a dot",
            code="invalid_name",
        )
