"""Route that counts: the tokens of a text or a chat, as the model would get them. The form is vLLM's."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge_runtime.serving.chat import PLAIN_RENDERING
from edge_runtime.serving.completion import ChatPrompt, TextPrompt, prompt_tokens
from edge_runtime.serving.messages import MessageBody, to_messages
from edge_runtime.serving.schemas import MAX_MESSAGES
from edge_runtime.serving.slots import SlotTable
from edge_runtime.serving.view import DeviceView
from loragen.web.body_fields import Text
from loragen.web.translation import verify_json


class TokenizeBody(BaseModel):
    """Body of `POST /tokenize`: a text, or the messages of a chat, which goes through the model's template."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"model": "desks", "prompt": "Where is my parcel?"}]}
    )

    model: Annotated[str, Field(min_length=1, max_length=256, description="Specialization, or `base`.")]
    prompt: Text | None = None
    messages: Annotated[list[MessageBody], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)] | None = None

    @model_validator(mode="after")
    def _verify_one(self) -> Self:
        if (self.prompt is None) is (self.messages is None):
            raise ValueError("expected 'prompt' or 'messages', and not both")
        return self


def token_routes(
    slots: SlotTable, device: DeviceView, template_variables: Mapping[str, Any] = MappingProxyType({})
) -> APIRouter:
    """`/tokenize`."""
    router = APIRouter(tags=["inference"], dependencies=[Depends(verify_json)])

    @router.post("/tokenize")
    async def tokenize(body: TokenizeBody) -> Response:
        """The tokens of a text, with the BOS that the tokenizer prepends, or of a chat; and how many fit the model."""
        prompt = TextPrompt(body.prompt) if body.prompt is not None else None
        chat = ChatPrompt(to_messages(body.messages or ()), PLAIN_RENDERING.over(template_variables))
        async with slots.lease(device.slot_name(body.model)) as slot:
            tokens, longest = await slot.worker.call(
                lambda engine: (prompt_tokens(engine, prompt or chat), engine.context_tokens)
            )
        return JSONResponse({"count": len(tokens), "max_model_len": longest, "tokens": tokens})

    return router
