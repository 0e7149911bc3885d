"""The page that generates a LoRA and shows what came of it."""

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import RedirectResponse

from cloud_service.errors import CloudError, NotFoundError
from cloud_service.http.console.browser import CONSOLE
from cloud_service.http.console.forms import FormFields, body_of, number_of, pairs_of, read_form, tools_of
from cloud_service.http.console.gate_picture import GateSummary, draw_gates, summarize_gates
from cloud_service.http.console.pages import Pages
from cloud_service.http.generation_routes import generated
from cloud_service.jobs import JobService
from cloud_service.schemas import GenerateLoraBody
from cloud_service.service import LoraService
from loragen.cloud_answers import Generated
from loragen.contract.recipe import parse_recipe
from loragen.web.hanging_up import unless_hung_up

_RecipeId = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]

READ_PER_SECOND = 100
"""Prompt tokens that a small device reads in a second, to say when a generation has paid off."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer as a page shows it.

    Attributes:
        gates: None where there are none to see.
        seconds: What the work took, tuning included, trying it out not; 0 when it was known already.
        pays_off_after: Calls after which the time that devices save is longer than the generation took; None when
            nothing is saved.
    """

    answer: Generated
    gates: GateSummary | None
    seconds: float
    pays_off_after: int | None
    read_per_second: int = READ_PER_SECOND


def generation_pages(pages: Pages, service: LoraService, jobs: JobService) -> APIRouter:
    """`/console/generate`, and the pictures of gates."""
    router = APIRouter(prefix=CONSOLE, include_in_schema=False)

    def page(request: Request, fields: FormFields, made: Shown | None = None, **message: Any) -> Response:
        values = {
            "fields": fields,
            "made": made,
            "generators": [served.info for served in service.catalog],
        }
        return pages.page(request, "generate.html", values, **message)

    @router.get("/generate")
    async def form(request: Request) -> Response:
        return page(request, {})

    @router.post("/generate")
    async def generate(request: Request) -> Response:
        fields = await read_form(request)
        try:
            body = _task(fields)
            if body.refine is not None:
                job = await jobs.start(body.to_request(), lambda answer: generated(answer, with_gates=False))
                return RedirectResponse(f"{CONSOLE}/jobs/{job.id}", HTTPStatus.SEE_OTHER)
            made = generated(await unless_hung_up(request, service.generate(body.to_request())), with_gates=False)
            shown = await show_answer(service, made)
        except CloudError as error:
            return page(request, fields, error=error)
        return page(request, fields, shown, notice="The LoRA is ready.")

    @router.get("/recipes/{recipe_id}/gates.png")
    async def picture(recipe_id: _RecipeId) -> Response:
        gates = parse_recipe(await service.artifacts.fetch_recipe(recipe_id)).gates
        headers = {"cache-control": "private, max-age=31536000, immutable"}
        return Response(draw_gates(gates), headers=headers, media_type="image/png")

    return router


async def show_answer(service: LoraService, answer: Generated) -> Shown:
    """An answer with what its recipe says of the gates.

    Raises:
        CloudError: The recipe cannot be read.
    """
    try:
        gates = summarize_gates(parse_recipe(await service.artifacts.fetch_recipe(answer.recipe_id)).gates)
    except NotFoundError:  # it has expired since
        gates = None
    timings, saved = answer.timings, answer.tokens_saved_per_call
    seconds = (timings.queue_ms + timings.generate_ms + timings.assemble_ms) / 1000
    if answer.refinement is not None and not answer.cached:
        seconds += answer.refinement.seconds
    return Shown(answer, gates, seconds, max(1, math.ceil(seconds * READ_PER_SECOND / saved)) if saved else None)


def _task(fields: FormFields) -> GenerateLoraBody:
    choices = [choice.strip() for choice in fields.get("choices", "").split(",") if choice.strip()]
    refine = {"budget_seconds": number_of(fields, "budget_seconds")} if fields.get("refine") else None
    return body_of(
        GenerateLoraBody,
        description=fields.get("description", ""),
        examples=pairs_of(fields, "examples"),
        tools=tools_of(fields),
        answer={"type": "choice", "choices": choices} if choices else None,
        probe=pairs_of(fields, "probe"),
        probe_examples=bool(fields.get("probe_examples")),
        refine=refine,
        generator=fields.get("generator") or None,
    )
