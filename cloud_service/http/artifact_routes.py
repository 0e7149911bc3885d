"""Routes of the artifacts that devices download: bundles, recipes and banks; conditional, cacheable and resumable.

Bundles and recipes are deleted here too.

A bundle or a recipe never changes under its id, so any HTTP cache may store it for ever. A generator has another bank
when it is trained again, so caches must revalidate a bank by its digest. Ranges are our own, because Starlette's
`FileResponse` has them for files only, and a bundle is bytes in memory.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import StreamingResponse

from cloud_service.access.caller import current_caller
from cloud_service.artifacts import ArtifactService
from cloud_service.catalog import Catalog, ServedGenerator
from cloud_service.deletion import DeletionService
from cloud_service.http.conditional import is_known, select_range, verify_match
from cloud_service.http.known_answers import AnswerMemory
from cloud_service.store import StoredLora
from loragen.cloud_answers import RECIPE_HEADER, BankSummary, GeneratorList, GeneratorSummary, Reference
from loragen.contract.names import DIGEST_PATTERN, NAME_PATTERN

IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"

OCTETS = "application/octet-stream"

_CHUNK_BYTES = 64 * 1024
"""What each download under way holds in memory, two or three times."""

_BYTES = {"content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: _BYTES,
    206: {**_BYTES, "description": "The range that was asked for."},
    304: {"description": "The client has these bytes already."},
}

_Digest = Annotated[str, Path(pattern=DIGEST_PATTERN)]
_Name = Annotated[str, Path(pattern=NAME_PATTERN)]


def artifact_routes(
    artifacts: ArtifactService, deletion: DeletionService, catalog: Catalog, memory: AnswerMemory
) -> APIRouter:
    """`/bundles`, `/recipes` and `/generators`."""
    router = APIRouter(tags=["artifacts"])

    async def bundle(request: Request, bundle_id: _Digest) -> Response:
        """The LoRA itself, a safetensors file that PEFT loads; built from its recipe when it is not stored.

        The id of a recipe stands for that of the bundle that it makes, which the entity tag and `Content-Location`
        tell.
        """
        return await send_bundle(request, artifacts, bundle_id)

    async def recipe(request: Request, recipe_id: _Digest) -> Response:
        """The gates of a generation; with the bank of its generator, enough to build the bundle."""
        data = await artifacts.fetch_recipe(recipe_id)

        async def load() -> bytes:
            return data

        return await send_artifact(request, recipe_id, len(data), load, IMMUTABLE)

    async def bank(request: Request, generator_id: _Name) -> Response:
        """The expert bank of a generator, with which devices build bundles from recipes."""
        served = catalog.get(generator_id).bank

        async def load() -> memoryview:
            return served.data

        return await send_artifact(request, served.digest, len(served.data), load, REVALIDATE)

    for path, endpoint in (
        ("/bundles/{bundle_id}", bundle),
        ("/recipes/{recipe_id}", recipe),
        ("/generators/{generator_id}/bank", bank),
    ):
        router.add_api_route(path, endpoint, methods=["GET"], response_class=Response, responses=_ANSWERS)

    @router.delete("/bundles/{bundle_id}", status_code=204)
    async def delete_bundle(bundle_id: _Digest) -> None:
        """Delete a bundle, with the recipe that makes it, by the id of either. What a channel names is refused."""
        await deletion.delete_bundle(bundle_id)
        memory.forget_all(current_caller().tenant)

    @router.delete("/recipes/{recipe_id}", status_code=204)
    async def delete_recipe(recipe_id: _Digest) -> None:
        """Delete a recipe, with the bundle that it makes. What a channel names is refused."""
        await deletion.delete_recipe(recipe_id)
        memory.forget_all(current_caller().tenant)

    @router.get("/generators")
    async def generators() -> GeneratorList:
        """The loaded generators; the first is the default."""
        summaries = (_summary(served, default=index == 0) for index, served in enumerate(catalog))
        return GeneratorList(generators=tuple(summaries))

    return router


async def send_bundle(request: Request, artifacts: ArtifactService, either_id: str) -> Response:
    """Answer a GET or HEAD for a bundle, by its id or that of its recipe."""
    lora = await artifacts.find_bundle(either_id)

    async def load() -> memoryview:
        return await artifacts.fetch_bundle(lora)

    answer = await send_artifact(request, lora.bundle_id, lora.bundle_bytes, load, IMMUTABLE)
    if isinstance(lora, StoredLora):
        answer.headers[RECIPE_HEADER] = lora.recipe_id
    if lora.bundle_id != either_id:
        answer.headers["content-location"] = f"/bundles/{lora.bundle_id}"
    return answer


async def send_artifact(
    request: Request,
    digest: str,
    size: int,
    load: Callable[[], Awaitable[bytes | memoryview]],
    cache_control: str,
    media_type: str = OCTETS,
) -> Response:
    """Answer a GET or HEAD for bytes that a digest names.

    Args:
        request: Decides by its method and headers what is sent.
        digest: The entity tag.
        size: Length of all bytes.
        load: Gets the bytes; called only when some of them are sent.
        cache_control: The header `Cache-Control`.
        media_type: The header `Content-Type`.

    Raises:
        InvalidRequestError, PreconditionError: By `If-Match`.
        RangeError: The range begins behind the end.
    """
    etag = f'"{digest}"'
    headers = {"etag": etag, "cache-control": cache_control, "accept-ranges": "bytes"}
    verify_match(etag, request.headers.get("if-match"))
    if is_known(etag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    span = select_range(request.headers.get("range"), request.headers.get("if-range"), etag, size)
    start, stop = span or (0, size)
    headers["content-length"] = str(stop - start)
    if span is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    status = 200 if span is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media_type)
    data = await load()
    return StreamingResponse(_chunks(data, start, stop), status, headers, media_type)


def _summary(served: ServedGenerator, *, default: bool) -> GeneratorSummary:
    info, bank = served.info, served.bank
    return GeneratorSummary(
        id=info.id,
        digest=info.digest,
        default=default,
        cloud_model=Reference(id=info.cloud_model_id, digest=info.cloud_model_digest),
        edge_model=Reference(id=info.edge_model_id, digest=info.edge_model_digest),
        layers=info.layers,
        groups=info.groups,
        experts=info.experts,
        rank=info.rank,
        alpha=info.alpha,
        mix=info.mix,
        gating=info.gating,
        max_prompt_tokens=info.max_prompt_tokens,
        most_choices=info.most_choices,
        bank=BankSummary(digest=bank.digest, bytes=len(bank.data), link=f"/generators/{info.id}/bank"),
    )


def _chunks(data: bytes | memoryview, start: int, stop: int) -> Iterator[bytes]:
    # Starlette runs this on a thread: reading a page of a mapped bank may have to wait for the disk.
    for place in range(start, stop, _CHUNK_BYTES):
        yield bytes(data[place : min(place + _CHUNK_BYTES, stop)])
