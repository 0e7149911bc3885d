"""Deletes bundles and recipes for people, by their ids: from the page of what was just generated, or the first page."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from cloud_service.deletion import DeletionService
from cloud_service.errors import CloudError
from cloud_service.http.console.browser import CONSOLE
from cloud_service.http.console.forms import body_of, read_form
from cloud_service.http.console.pages import Pages
from loragen.contract.names import DIGEST_PATTERN


class _Deleted(BaseModel):
    bundle_id: str = Field(pattern=DIGEST_PATTERN)


def deletion_pages(pages: Pages, deletion: DeletionService) -> APIRouter:
    """`POST /console/bundles`."""
    router = APIRouter(prefix=CONSOLE, include_in_schema=False)

    @router.post("/bundles")
    async def delete(request: Request) -> Response:
        fields = await read_form(request)
        values: dict[str, Any] = {"channels": None, "after": "", "more": ""}
        try:
            either_id = body_of(_Deleted, bundle_id=fields.get("bundle_id", "")).bundle_id
            await deletion.delete_bundle(either_id)
        except CloudError as error:
            return pages.page(request, "index.html", values, error=error)
        return pages.page(request, "index.html", values, notice=f"{either_id} is deleted.")

    return router
