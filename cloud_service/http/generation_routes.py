"""The route that turns a task description into a LoRA."""

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from structlog.contextvars import bind_contextvars

from cloud_service.channels import ChannelService, verify_not_reserved
from cloud_service.http.artifact_routes import OCTETS
from cloud_service.http.conditional import choose_media_type
from cloud_service.http.translation import verify_json
from cloud_service.schemas import GenerateLoraAnswer, GenerateLoraBody
from cloud_service.service import GeneratedLora, LoraService

_JSON = "application/json"


def generation_routes(service: LoraService, channels: ChannelService) -> APIRouter:
    """`/generate-lora`."""
    router = APIRouter()

    @router.post(
        "/generate-lora",
        response_model=GenerateLoraAnswer,
        responses={200: {"content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}}},
        dependencies=[Depends(verify_json)],
    )
    async def generate_lora(request: Request, body: GenerateLoraBody) -> Response:
        """Generate a LoRA for a task. With `Accept: application/octet-stream` the answer is the bundle itself."""
        media_type = choose_media_type(request.headers.get("accept"), (_JSON, OCTETS))
        answer = await generate_and_publish(service, channels, body)
        headers = {"cache-control": "no-store", "vary": "accept"}
        if media_type == OCTETS:
            headers["etag"] = f'"{answer.lora.bundle_id}"'
            headers["content-location"] = f"/bundles/{answer.lora.bundle_id}"
            headers["x-loragen-recipe-id"] = answer.lora.recipe_id
            return Response(await service.fetch_bundle(answer.lora), headers=headers, media_type=OCTETS)
        channel = None if body.publish is None else body.publish.channel
        return JSONResponse(GenerateLoraAnswer.of(answer, channel).model_dump(), headers=headers)

    return router


async def generate_and_publish(service: LoraService, channels: ChannelService, body: GenerateLoraBody) -> GeneratedLora:
    """Answer a valid request, publish the bundle when it asks for that, and note the outcome for the log record.

    Raises:
        CloudError: As for `LoraService.generate` and `ChannelService.publish`.
    """
    request = body.to_request()
    if body.publish is not None:
        served = service.catalog.select(request.generator, request.edge_model)
        verify_not_reserved(body.publish.name, served.info.edge_model_id, "publish.name")
    answer = await service.generate(request)
    bind_contextvars(
        generator=answer.recipe.generator_id,
        bundle_id=answer.lora.bundle_id,
        cached=answer.cached,
        queue_ms=round(answer.timings.queue * 1000, 2),
        generate_ms=round(answer.timings.generate * 1000, 2),
    )
    if body.publish is not None:
        await channels.publish(body.publish.channel, body.publish.name, answer.lora.bundle_id)
        bind_contextvars(channel=body.publish.channel, specialization=body.publish.name)
    return answer
