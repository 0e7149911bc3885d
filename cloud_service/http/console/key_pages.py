"""The page of API keys: lists them, makes one and shows it once, rotates and revokes them."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from cloud_service.access.key_service import KeyService
from cloud_service.access.scopes import Scope
from cloud_service.errors import CloudError, InvalidRequestError
from cloud_service.http.access_routes import CreateKeyBody, RotateKeyBody, key_summary, made_key
from cloud_service.http.console.browser import CONSOLE
from cloud_service.http.console.forms import FormFields, body_of, number_of, read_form
from cloud_service.http.console.pages import Pages
from loragen.key_answers import MadeKey

_KeyId = Annotated[str, Path(pattern="^[0-9a-z]{12}$")]
_After = Annotated[str, Query(pattern="^[0-9a-z]{0,12}$")]
_KEYS = 100

_DAY = 86_400
_LIFETIMES = (("1 day", _DAY), ("30 days", 30 * _DAY), ("90 days", 90 * _DAY), ("a year", 365 * _DAY), ("no end", 0))
_GRACES = (("at once", 0), ("in an hour", 3600), ("in a day", _DAY), ("in a week", 7 * _DAY))

_SCOPES = {
    Scope.GENERATE: "have LoRAs generated",
    Scope.READ: "look at channels, devices and jobs",
    Scope.PUBLISH: "change channels and rollouts",
    Scope.DEVICE: "follow a channel and report, as the device named below",
    Scope.ADMIN: "everything, keys too",
}


def key_pages(pages: Pages, keys: KeyService) -> APIRouter:
    """`/console/keys`."""
    router = APIRouter(prefix=f"{CONSOLE}/keys", include_in_schema=False)

    @router.get("")
    async def index(request: Request, after: _After = "") -> Response:
        return await _page(request, after=after)

    @router.post("")
    async def create(request: Request) -> Response:
        fields = await read_form(request)
        try:
            made = made_key(*await keys.create(_wanted(fields).to_request()))
        except CloudError as error:
            return await _page(request, fields=fields, error=error)
        return await _page(request, made=made, notice=f"The key {made.about.id} is made.")

    @router.post("/{key_id}")
    async def change(request: Request, key_id: _KeyId) -> Response:
        fields = await read_form(request)
        try:
            if fields.get("action") == "revoke":
                await keys.revoke(key_id)
                return await _page(request, notice=f"The key {key_id} is revoked.")
            if fields.get("action") == "rotate":
                body = body_of(RotateKeyBody, grace_seconds=number_of(fields, "grace_seconds"))
                made = made_key(*await keys.rotate(key_id, body.grace_seconds))
                return await _page(request, made=made, notice=f"The key {made.about.id} replaces {key_id}.")
            raise InvalidRequestError("the form asks for nothing that is known")
        except CloudError as error:
            return await _page(request, error=error)

    async def _page(
        request: Request,
        *,
        after: str = "",
        fields: FormFields | None = None,
        made: MadeKey | None = None,
        **message: Any,
    ) -> Response:
        listed, more = await keys.page(_KEYS, after)
        values = {
            "keys": list(map(key_summary, listed)),
            "after": after,
            "more": more,
            "made": made,
            "fields": fields or {},
            "scopes": _SCOPES,
            "lifetimes": _LIFETIMES,
            "graces": _GRACES,
        }
        return pages.page(request, "keys.html", values, **message)

    return router


def _wanted(fields: FormFields) -> CreateKeyBody:
    return body_of(
        CreateKeyBody,
        name=fields.get("name", ""),
        scopes=tuple(scope for scope in Scope if fields.get(f"scope-{scope}")),
        tenant=fields.get("tenant", ""),
        device=fields.get("device", ""),
        expires_in_seconds=int(number_of(fields, "lifetime")) or None,
    )
