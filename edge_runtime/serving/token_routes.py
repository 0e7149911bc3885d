"""Routes of the tokenizer: the tokens of a text or a chat, the text of tokens, and what a client needs to make prompts.

The form is vLLM's, as far as lm-eval uses it: with it, tasks run without a tokenizer of Hugging Face at hand.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.chat import PLAIN_RENDERING
from edge_runtime.serving.completion import ChatPrompt, prompt_tokens
from edge_runtime.serving.completion_routes import Completions
from edge_runtime.serving.engine import Engine
from edge_runtime.serving.messages import MessageBody, to_messages
from edge_runtime.serving.schemas import MAX_MESSAGES, MAX_TOKENS
from loragen.contract.names import BASE_NAME
from loragen.web.body_fields import Text
from loragen.web.translation import verify_json

_ModelName = Annotated[str, Field(min_length=1, max_length=256, description="Specialization, or `base`.")]


class TokenizeBody(BaseModel):
    """Body of `POST /tokenize`: a text, or the messages of a chat, which goes through the model's template."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"model": "desks", "prompt": "Where is my parcel?"}]}
    )

    model: _ModelName = BASE_NAME
    prompt: Text | None = None
    messages: Annotated[list[MessageBody], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)] | None = None
    add_special_tokens: Annotated[
        bool | None,
        Field(description="Prepend the BOS that the tokenizer prepends; by default true. A chat's is in its template."),
    ] = None

    @model_validator(mode="after")
    def _verify_one(self) -> Self:
        if (self.prompt is None) is (self.messages is None):
            raise ValueError("expected 'prompt' or 'messages', and not both")
        if self.messages is not None and self.add_special_tokens:
            raise ValueError("'add_special_tokens': expected false for a chat, whose template has what it needs")
        return self


class DetokenizeBody(BaseModel):
    """Body of `POST /detokenize`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"model": "desks", "tokens": [504]}]})

    model: _ModelName = BASE_NAME
    tokens: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=MAX_TOKENS, fail_fast=True)]


def token_routes(completions: Completions, template_variables: Mapping[str, Any] = MappingProxyType({})) -> APIRouter:
    """`/tokenize`, `/detokenize` and `/tokenizer_info`."""
    router = APIRouter(tags=["inference"])

    @router.post("/tokenize", dependencies=[Depends(verify_json)])
    async def tokenize(request: Request, body: TokenizeBody) -> Response:
        """The tokens of a text or of a chat, as the model gets them; and how many fit the model."""

        def work(engine: Engine) -> tuple[list[int], int]:
            if body.prompt is None:
                chat = ChatPrompt(to_messages(body.messages or ()), PLAIN_RENDERING.over(template_variables))
                return prompt_tokens(engine, chat), engine.context_tokens
            return engine.tokenize(body.prompt, body.add_special_tokens is not False), engine.context_tokens

        tokens, longest = await completions.call(request, body.model, work)
        return JSONResponse({"count": len(tokens), "max_model_len": longest, "tokens": tokens})

    @router.post("/detokenize", dependencies=[Depends(verify_json)])
    async def detokenize(request: Request, body: DetokenizeBody) -> Response:
        """The text of tokens, control tokens spelled."""

        def work(engine: Engine) -> str:
            # The engine answers nobody meanwhile.
            if len(body.tokens) > engine.context_tokens:
                raise InvalidRequestError(
                    f"'tokens': expected at most {engine.context_tokens}, the context of this model, found "
                    f"{len(body.tokens)}"
                )
            if max(body.tokens, default=0) >= engine.vocab_tokens:
                raise InvalidRequestError(f"'tokens': expected numbers between 0 and {engine.vocab_tokens - 1}")
            return engine.detokenize(body.tokens)

        return JSONResponse({"prompt": await completions.call(request, body.model, work)})

    @router.get("/tokenizer_info")
    async def tokenizer_info(request: Request, model: Annotated[_ModelName, Query()] = BASE_NAME) -> Response:
        """The tokens that begin and end a text, and the chat template, as the model's file has them; null for none."""
        found = await completions.call(request, model, lambda engine: engine.tokenizer)
        return JSONResponse(
            {
                "bos_token": found.bos or None,
                "eos_token": found.eos or None,
                "chat_template": found.chat_template or None,
            }
        )

    return router
