"""Route of OpenAI's responses interface. Nothing is stored: a response cannot be asked for again."""

import time
import uuid

from fastapi import APIRouter, Depends, Request, Response

from edge_runtime.serving.completion_routes import Completions
from edge_runtime.serving.responses_body import ResponsesBody
from edge_runtime.serving.responses_format import ResponsesFormat
from loragen.web.translation import verify_json

_REPEATED = {"model", "instructions", "max_output_tokens", "temperature", "top_p", "tools", "tool_choice"}


def responses_routes(completions: Completions) -> APIRouter:
    """`/v1/responses`."""
    router = APIRouter(tags=["inference"], dependencies=[Depends(verify_json)])

    @router.post("/v1/responses")
    async def respond(request: Request, body: ResponsesBody) -> Response:
        """OpenAI's responses: text and calls of functions, whole or as its events; nothing is stored."""
        answer_id, created = uuid.uuid4().hex, int(time.time())
        asked = body.model_dump(include={*_REPEATED, "parallel_tool_calls", "text"}, by_alias=True, exclude_none=True)
        return await completions.answer(
            request,
            body.model,
            body.to_request(),
            body.stream,
            lambda revision: ResponsesFormat(answer_id, created, asked, revision),
        )

    return router
