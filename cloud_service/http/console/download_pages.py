"""Bundles and recipes for a browser, whose session is good for the console alone."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from cloud_service.artifacts import ArtifactService
from cloud_service.http.artifact_routes import IMMUTABLE, send_artifact, send_bundle
from cloud_service.http.console.browser import CONSOLE
from loragen.contract.names import DIGEST_PATTERN

_Digest = Annotated[str, Path(pattern=DIGEST_PATTERN)]


def download_pages(artifacts: ArtifactService) -> APIRouter:
    """`/console/bundles` and `/console/recipes`."""
    router = APIRouter(prefix=CONSOLE, include_in_schema=False)

    @router.get("/bundles/{bundle_id}")
    async def bundle(request: Request, bundle_id: _Digest) -> Response:
        return await send_bundle(request, artifacts, bundle_id)

    @router.get("/recipes/{recipe_id}")
    async def recipe(request: Request, recipe_id: _Digest) -> Response:
        data = await artifacts.fetch_recipe(recipe_id)
        return await send_artifact(request, recipe_id, len(data), partial(artifacts.fetch_recipe, recipe_id), IMMUTABLE)

    return router
