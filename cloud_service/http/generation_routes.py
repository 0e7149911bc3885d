"""The route that turns a task description into a LoRA."""

from dataclasses import replace

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from cloud_service.http.answer_schemas import GenerateLoraAnswer
from cloud_service.http.artifact_routes import OCTETS
from cloud_service.http.conditional import choose_media_type
from cloud_service.schemas import GenerateLoraBody
from cloud_service.service import LoraService
from loragen.web.translation import verify_json

_JSON = "application/json"


def generation_routes(service: LoraService) -> APIRouter:
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
        answer = await service.generate(replace(body.to_request(), include_bundle=media_type == OCTETS))
        headers = {"cache-control": "no-store", "vary": "accept"}
        if answer.bundle is None:
            return JSONResponse(GenerateLoraAnswer.of(answer).model_dump(), headers=headers)
        headers["etag"] = f'"{answer.lora.bundle_id}"'
        headers["content-location"] = f"/bundles/{answer.lora.bundle_id}"
        headers["x-loragen-recipe-id"] = answer.lora.recipe_id
        return Response(answer.bundle, headers=headers, media_type=OCTETS)

    return router
