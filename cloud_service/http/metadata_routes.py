"""Routes of a signed channel's TUF metadata, which devices read and verify; conditional and cacheable."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from cloud_service.errors import NotFoundError
from cloud_service.http.artifact_routes import IMMUTABLE, REVALIDATE, send_artifact
from cloud_service.signing.port import METADATA_FILE_PATTERN, MetadataSource
from loragen.contract.digest import sha256_hex
from loragen.contract.names import NAME_PATTERN

_JSON = "application/json"

_Name = Annotated[str, Path(pattern=NAME_PATTERN)]
_File = Annotated[
    str,
    Path(
        pattern=METADATA_FILE_PATTERN,
        description="timestamp.json, or VERSION.ROLE.json of the role root, snapshot or targets.",
    ),
]
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {_JSON: {"schema": {"type": "object"}}}, "description": "docs/bundle-format.md"},
    304: {"description": "Not modified."},
}


def metadata_routes(source: MetadataSource | None) -> APIRouter:
    """`/channels/{channel}/metadata`.

    Args:
        source: Makes the files; None signs nothing.
    """
    router = APIRouter(prefix="/channels/{channel}/metadata", tags=["channels"])

    @router.get("/{file}", response_class=Response, responses=_ANSWERS)
    async def metadata(request: Request, channel: _Name, file: _File) -> Response:
        """A file of TUF metadata of a channel that its owner signs; 404 `channel_not_signed` for others."""
        if source is None:
            raise NotFoundError(
                f"channel {channel!r} is not signed",
                "this service has no LORAGEN_CLOUD_SIGNING_DIR",
                code="channel_not_signed",
            )
        data = await source.load(channel, file)

        async def load() -> bytes:
            return data

        cache_control = REVALIDATE if file == "timestamp.json" else IMMUTABLE
        return await send_artifact(request, sha256_hex(data), len(data), load, cache_control, _JSON)

    return router
