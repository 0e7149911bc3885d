"""Routes of API keys and of the audit log."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import AfterValidator, Field, StringConstraints

from cloud_service.access.audit import AuditEntry, AuditLog
from cloud_service.access.key_service import KeyRequest, KeyService
from cloud_service.access.keys import ApiKey
from cloud_service.access.scopes import Scope
from cloud_service.body import Body, Whole
from cloud_service.limits import (
    MAX_AUDIT_LISTED,
    MAX_KEY_LIFETIME_SECONDS,
    MAX_KEY_NAME_CHARS,
    MAX_KEYS_LISTED,
)
from loragen.contract.names import DEVICE_NAME_PATTERN, NAME_PATTERN
from loragen.key_answers import AuditedChange, AuditPage, KeyPage, KeySummary, MadeKey
from loragen.web.body_fields import verify_unicode, verify_visible
from loragen.web.translation import verify_json

_KeyId = Annotated[str, Path(pattern="^[0-9a-z]{12}$")]
_After = Annotated[str, Query(pattern="^[0-9a-z]{0,12}$", description="Only keys behind this id.")]
_Limit = Annotated[int, Query(ge=1, le=MAX_KEYS_LISTED, description="Most keys on a page.")]
_EntryLimit = Annotated[int, Query(ge=1, le=MAX_AUDIT_LISTED, description="Most entries on a page.")]
_Before = Annotated[int | None, Query(ge=1, lt=2**53, description="Only entries before this number.")]
_Printable = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_KEY_NAME_CHARS, pattern=r"^[^\x00-\x1f\x7f]*$"),
    AfterValidator(verify_unicode),
    AfterValidator(verify_visible),
]


class CreateKeyBody(Body):
    """What key to make."""

    name: _Printable = Field(description="For people.")
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=len(Scope))]
    tenant: Annotated[str, StringConstraints(pattern=f"^$|{NAME_PATTERN}")] = Field(
        default="", description="Whose it is: it sees the bundles and channels of this tenant alone."
    )
    device: Annotated[str, StringConstraints(pattern=rf"^\*?$|{DEVICE_NAME_PATTERN}")] = Field(
        default="", description="The device that a key with the scope device speaks for; `*` for any of its tenant."
    )
    expires_in_seconds: Annotated[Whole, Field(ge=1, le=MAX_KEY_LIFETIME_SECONDS)] | None = None

    def to_request(self) -> KeyRequest:
        """The same as a value of the service."""
        return KeyRequest(self.name, self.scopes, self.tenant, self.device, self.expires_in_seconds)


class RotateKeyBody(Body):
    """How long the old key is good beside the new one."""

    grace_seconds: Whole = Field(default=86_400, ge=0, le=MAX_KEY_LIFETIME_SECONDS)


def access_routes(keys: KeyService, audit: AuditLog) -> APIRouter:
    """`/keys` and `/audit`."""
    router = APIRouter(tags=["access"])

    @router.post("/keys", status_code=201, dependencies=[Depends(verify_json)])
    async def create_key(body: CreateKeyBody, response: Response) -> MadeKey:
        """Make an API key. The answer has it in the clear, once."""
        response.headers["cache-control"] = "no-store"
        return made_key(*await keys.create(body.to_request()))

    @router.get("/keys")
    async def list_keys(after: _After = "", limit: _Limit = MAX_KEYS_LISTED) -> KeyPage:
        """The API keys by id, page by page; those of one's own tenant."""
        listed, next_after = await keys.page(limit, after)
        return KeyPage(keys=tuple(map(key_summary, listed)), next_after=next_after)

    @router.post("/keys/{key_id}/rotate", status_code=201, dependencies=[Depends(verify_json)])
    async def rotate_key(key_id: _KeyId, body: RotateKeyBody, response: Response) -> MadeKey:
        """Make a key like this one, which expires after the grace."""
        response.headers["cache-control"] = "no-store"
        return made_key(*await keys.rotate(key_id, body.grace_seconds))

    @router.delete("/keys/{key_id}")
    async def revoke_key(key_id: _KeyId) -> KeySummary:
        """Let a key be refused, within three seconds on every replica; its jobs and watches end then too."""
        return key_summary(await keys.revoke(key_id))

    @router.get("/audit")
    async def list_audit(before: _Before = None, limit: _EntryLimit = MAX_AUDIT_LISTED) -> AuditPage:
        """Who changed which channel or key, the newest first, page by page; those of one's own tenant."""
        entries, next_before = await audit.page(limit, before)
        return AuditPage(entries=tuple(map(_audited, entries)), next_before=next_before)

    return router


def key_summary(key: ApiKey) -> KeySummary:
    """A key as it goes over the wire."""
    return KeySummary(
        id=key.id,
        name=key.name,
        scopes=tuple(key.scopes),
        tenant=key.tenant,
        device=key.device,
        state=key.state(datetime.now(UTC).timestamp()),
        created_at=_text(key.created_at),
        expires_at=None if key.expires_at is None else _text(key.expires_at),
        revoked_at=None if key.revoked_at is None else _text(key.revoked_at),
    )


def made_key(token: str, key: ApiKey) -> MadeKey:
    """A new key as it goes over the wire."""
    return MadeKey(key=token, about=key_summary(key))


def _audited(entry: AuditEntry) -> AuditedChange:
    return AuditedChange(number=entry.number, at=_text(entry.at), action=entry.action, target=entry.target, **entry.by)


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
