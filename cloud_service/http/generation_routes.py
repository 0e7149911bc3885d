"""The route that turns a task description into a LoRA."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from http import HTTPStatus
from typing import Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from pydantic import ValidationError

from cloud_service.generation import EdgeScores
from cloud_service.http.artifact_routes import OCTETS
from cloud_service.http.conditional import choose_media_type, prefers_async
from cloud_service.http.job_routes import POLL_SECONDS
from cloud_service.http.known_answers import GENERATE_PATH, AnswerMemory, KnownAnswer, asked_of
from cloud_service.jobs import JobService
from cloud_service.lora_request import GeneratedLora
from cloud_service.schemas import GenerateLoraBody
from cloud_service.service import LoraService
from loragen import cloud_answers
from loragen.cloud_answers import (
    RECIPE_HEADER,
    AllowedAnswer,
    Generated,
    Job,
    Links,
    Probe,
    Reference,
    Refinement,
    TaskWarning,
    Timings,
)
from loragen.contract import answer as answers
from loragen.web.hanging_up import unless_hung_up
from loragen.web.translation import verify_json

_JSON = "application/json"


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}},
    202: {"model": Job, "description": "With `Prefer: respond-async` and `refine`: the job, and where it is."},
}


def generation_routes(service: LoraService, jobs: JobService, memory: AnswerMemory) -> APIRouter:
    """`/generate-lora`.

    Args:
        service: Generates.
        jobs: Refines in the background.
        memory: Remembers answers from the store, for the same request again.
    """
    router = APIRouter(tags=["generation"])

    @router.post(
        GENERATE_PATH,
        response_model=Generated,
        responses=_ANSWERS,
        dependencies=[Depends(verify_json)],
    )
    async def generate_lora(request: Request, body: GenerateLoraBody) -> Response:
        """Generate a LoRA for a task. With `Accept: application/octet-stream` the answer is the bundle itself.

        With `refine` and the header `Prefer: respond-async` a job does it, and the answer says where the job is.
        Without `refine` the preference is not followed: generation takes less time than a job would.
        """
        if body.refine is not None and prefers_async(request.headers.getlist("prefer")):
            job = await jobs.start(body.to_request(), lambda answer: generated(answer, with_gates=False))
            headers = {
                "location": f"/jobs/{job.id}",
                "retry-after": str(POLL_SECONDS),
                "preference-applied": "respond-async",
                "cache-control": "no-store",
            }
            return Response(job.model_dump_json(), HTTPStatus.ACCEPTED, headers, _JSON)
        body.verify_synchronous()
        media_type = choose_media_type(request.headers.get("accept"), (_JSON, OCTETS))
        wanted = replace(body.to_request(), include_bundle=media_type == OCTETS)
        answer = await unless_hung_up(request, service.generate(wanted))
        headers = {"cache-control": "no-store", "vary": "accept"}
        if answer.bundle is None:
            content = generated(answer, with_gates="gates" in body.include).model_dump_json().encode()
            if answer.cached and body.only_asks:
                memory.remember(asked_of(request.scope), _known(content, answer))
            return Response(content, headers=headers, media_type=_JSON)
        headers["etag"] = f'"{answer.id}"'
        headers["content-location"] = f"/bundles/{answer.id}"
        headers[RECIPE_HEADER] = answer.lora.recipe_id
        return Response(answer.bundle, headers=headers, media_type=OCTETS)

    return router


def room_verifier(service: LoraService) -> Callable[[bytes], Awaitable[None]]:
    """What raises the error for a body for which there is no room now, long before the route would.

    While there is room it does nothing; nor with a body that the route does not take, and says so itself.
    """

    async def verify_room(content: bytes) -> None:
        if not service.is_full:
            return
        try:
            body = GenerateLoraBody.model_validate_json(content)
        except ValidationError:
            return
        if body.refine is None:  # refinements have a queue of their own
            await service.verify_room(body.to_request())

    return verify_room


def generated(answer: GeneratedLora, *, with_gates: bool) -> Generated:
    """The answer as it goes over the wire; gates that are all zero, as for closed sets, tell nothing."""
    lora, recipe, timings, probe = answer.lora, answer.recipe, answer.timings, answer.probe
    return Generated(
        id=answer.id,
        bundle_bytes=lora.bundle_bytes,
        recipe_id=lora.recipe_id,
        recipe_bytes=len(lora.recipe),
        cached=answer.cached,
        generator=Reference(id=recipe.generator_id, digest=recipe.generator_digest),
        edge_model=Reference(id=recipe.edge_model_id, digest=recipe.edge_model_digest),
        gates=np.round(recipe.gates.astype(np.float64), 4).tolist() if with_gates and recipe.gates.any() else None,
        prompt_tokens=recipe.prompt_tokens,
        tokens_saved_per_call=recipe.tokens_saved_per_call,
        residual_prompt=recipe.residual_prompt,
        answer=answer_contract(recipe.answer),
        confidence=None if answer.confidence is None else round(answer.confidence.score, 4),
        warnings=tuple(TaskWarning(code=warning.code, message=warning.message) for warning in answer.warnings),
        refinement=None if answer.refinement is None else Refinement(**asdict(answer.refinement)),
        probe=None if probe is None else Probe(base=_scores(probe.base), specialized=_scores(probe.specialized)),
        timings=Timings(
            queue_ms=_milliseconds(timings.queue),
            generate_ms=_milliseconds(timings.generate),
            assemble_ms=_milliseconds(timings.assemble),
            total_ms=_milliseconds(timings.total),
        ),
        links=Links(
            bundle=f"/bundles/{answer.id}",
            recipe=f"/recipes/{lora.recipe_id}",
            bank=f"/generators/{recipe.generator_id}/bank",
            channel=None if answer.channel is None else f"/channels/{answer.channel}",
        ),
    )


def answer_contract(answer: answers.AnswerContract) -> AllowedAnswer:
    """An answer contract as it goes over the wire."""
    fields = answers.answer_fields(answer)
    return AllowedAnswer(
        type=answer.kind,
        choices=answer.choices,
        codes=answer.codes,
        json_schema=fields.get("schema"),
        functions=fields.get("functions", ()),
        none=answer.none,
        parallel=answer.parallel,
    )


def _known(content: bytes, answer: GeneratedLora) -> KnownAnswer:
    before, name, after = content.rpartition(b'"total_ms":')
    end = after.index(b"}")
    return KnownAnswer(before + name, after[end:], answer.logged)


def _scores(scores: EdgeScores) -> cloud_answers.ProbeScores:
    exact_match, log_likelihood = round(scores.exact_match, 4), round(scores.log_likelihood, 4)
    return cloud_answers.ProbeScores(exact_match=exact_match, log_likelihood=log_likelihood)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
