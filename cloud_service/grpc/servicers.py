"""The gRPC services of `protos/`: they check messages with the schemas that HTTP uses too, and call the same service.

Errors leave as exceptions; `scope` turns them into statuses.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from structlog.contextvars import bind_contextvars

from cloud_service import limits
from cloud_service.errors import InvalidRequestError
from cloud_service.fleet.channels import ChannelService
from cloud_service.fleet.devices import DeviceService
from cloud_service.generation import EdgeScores
from cloud_service.lora_request import GeneratedLora
from cloud_service.probing import ProbeComparison
from cloud_service.refinement import RefinementOutcome
from cloud_service.schemas import DeviceReport, GenerateLoraBody
from cloud_service.service import LoraService
from loragen.contract.answer import AnswerContract
from loragen.contract.errors import ContractError
from loragen.contract.limits import MAX_CHOICES, MAX_LABELS, MAX_SPECIALIZATIONS
from loragen.contract.strict_json import load_strict_json
from loragen.contract.stubs import loragen_pb2 as messages
from loragen.contract.stubs import loragen_pb2_grpc as stubs
from loragen.web.translation import describe_faults

_Body = TypeVar("_Body", bound=BaseModel)

_STATES = {
    messages.SPECIALIZATION_STATE_PENDING: "pending",
    messages.SPECIALIZATION_STATE_ADAPTER: "adapter",
    messages.SPECIALIZATION_STATE_MERGED: "merged",
    messages.SPECIALIZATION_STATE_FAILED: "failed",
}


class GeneratorServicer(stubs.GeneratorServicer):
    """`loragen.v1.Generator`."""

    def __init__(self, service: LoraService) -> None:
        self._service = service

    async def GenerateLora(  # noqa: N802 - the name in the proto
        self, request: messages.GenerateLoraRequest, context: Any
    ) -> messages.GenerateLoraResponse:
        """Generate a LoRA for a task; the bundle comes along when the request asks for it."""
        body = _validated(GenerateLoraBody, _to_body(request))
        body.verify_synchronous()
        answer = await self._service.generate(replace(body.to_request(), include_bundle=request.include_bundle))
        return _to_response(answer, with_gates=request.include_gates)


class ChannelsServicer(stubs.ChannelsServicer):
    """`loragen.v1.Channels`."""

    def __init__(self, channels: ChannelService, devices: DeviceService) -> None:
        self._channels = channels
        self._devices = devices

    async def Watch(  # noqa: N802 - the name in the proto
        self, request: messages.WatchRequest, context: Any
    ) -> AsyncIterator[messages.ChannelChanged]:
        """Wake a device whenever its channel changes."""
        bind_contextvars(channel=request.channel[:64], device=request.device_id[:253])
        async with aclosing(self._channels.watch(request.channel, request.known_version)) as versions:
            async for version in versions:
                yield messages.ChannelChanged(channel=request.channel, version=version)

    async def ReportStatus(  # noqa: N802 - the name in the proto
        self, request: messages.DeviceReport, context: Any
    ) -> messages.ReportStatusResponse:
        """Store the report of a device."""
        report = _validated(DeviceReport, _to_report(request))
        bind_contextvars(channel=report.channel, device=report.device_id)
        await self._devices.report(report.to_entry(), report.model_dump_json().encode())
        return messages.ReportStatusResponse()


def _validated(schema: type[_Body], fields: dict[str, Any]) -> _Body:
    try:
        return schema.model_validate(fields)
    except ValidationError as e:
        raise InvalidRequestError(describe_faults(e.errors()), "all limits are at /docs of the HTTP service") from e


def _to_body(request: messages.GenerateLoraRequest) -> dict[str, Any]:
    publish = request.publish if request.HasField("publish") else None
    most_examples = limits.MAX_REFINE_EXAMPLES if request.HasField("refine") else limits.MAX_EXAMPLES
    return {
        "description": request.description,
        # One item over the limit is enough for the schema to refuse all of them.
        "examples": [
            {"input": example.input, "output": example.output} for example in request.examples[: most_examples + 1]
        ],
        "tools": [_to_tool(f"tools.{index}", tool) for index, tool in enumerate(request.tools[: limits.MAX_TOOLS + 1])],
        "output_format": request.output_format,
        "answer": _to_answer(request.answer) if request.HasField("answer") else None,
        "edge_model": request.edge_model or None,
        "generator": request.generator or None,
        "publish": None if publish is None else {"channel": publish.channel, "name": publish.name},
        "strict": request.strict,
        "probe": [
            {"input": probed.input, "output": probed.output} for probed in request.probe[: limits.MAX_PROBES + 1]
        ],
        "probe_examples": request.probe_examples,
        "refine": _to_refine(request.refine) if request.HasField("refine") else None,
    }


def _to_refine(refine: messages.Refine) -> dict[str, Any]:
    return {name: getattr(refine, name) for name in ("steps", "budget_seconds") if refine.HasField(name)}


def _to_answer(answer: messages.AnswerContract) -> dict[str, Any]:
    # The schema refuses codes, which are the generator's.
    codes = {"codes": list(answer.codes[:1])} if answer.codes else {}
    return {
        "type": answer.type,
        "choices": list(answer.choices[: MAX_CHOICES + 1]),
        "json_schema": _loads(answer.schema_json, "answer.schema_json") if answer.schema_json else None,
        "functions": [
            _to_tool(f"answer.functions.{index}", tool)
            for index, tool in enumerate(answer.functions[: limits.MAX_TOOLS + 1])
        ],
        "none": answer.none if answer.HasField("none") else None,
        "parallel": answer.parallel,
        **codes,
    }


def _loads(text: str, field: str) -> Any:
    try:
        return load_strict_json(text)
    except ContractError as e:
        raise InvalidRequestError(f"{field}: {e}", e.hint) from e


def _to_tool(field: str, tool: messages.Tool) -> dict[str, Any]:
    parameters = _loads(tool.parameters_json or "{}", f"{field}.parameters_json")
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def _to_report(status: messages.DeviceReport) -> dict[str, Any]:
    return {
        "device_id": status.device_id,
        "channel": status.channel,
        "channel_version": status.channel_version,
        "specializations": [
            {
                "name": running.name,
                "bundle_id": running.bundle_id,
                "state": _STATES.get(running.state, "unspecified"),
                "message": running.message,
                "failed_bundle_id": running.failed_bundle_id,
                "slower": running.slower,
            }
            for running in status.specializations[: MAX_SPECIALIZATIONS + 1]
        ],
        "runtime_version": status.runtime_version,
        "edge_model_digest": status.edge_model_digest,
        "labels": dict(islice(status.labels.items(), MAX_LABELS + 1)),
        "reported_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _to_response(answer: GeneratedLora, *, with_gates: bool) -> messages.GenerateLoraResponse:
    lora, recipe, timings = answer.lora, answer.recipe, answer.timings
    return messages.GenerateLoraResponse(
        id=answer.id,
        bundle_bytes=lora.bundle_bytes,
        recipe_id=lora.recipe_id,
        recipe_bytes=len(lora.recipe),
        cached=answer.cached,
        generator=messages.ModelRef(id=recipe.generator_id, digest=recipe.generator_digest),
        edge_model=messages.ModelRef(id=recipe.edge_model_id, digest=recipe.edge_model_digest),
        gates=_to_gates(recipe.gates) if with_gates else None,
        prompt_tokens=recipe.prompt_tokens,
        tokens_saved_per_call=recipe.tokens_saved_per_call,
        residual_prompt=recipe.residual_prompt,
        timings=messages.Timings(
            queue_ms=timings.queue * 1000,
            generate_ms=timings.generate * 1000,
            assemble_ms=timings.assemble * 1000,
            total_ms=timings.total * 1000,
        ),
        bundle=None if answer.bundle is None else bytes(answer.bundle),
        confidence=None if answer.confidence is None else answer.confidence.score,
        warnings=[messages.Warning(code=warning.code, message=warning.message) for warning in answer.warnings],
        probe=None if answer.probe is None else _to_comparison(answer.probe),
        answer=_from_answer(recipe.answer),
        refinement=None if answer.refinement is None else _from_refinement(answer.refinement),
    )


def _to_gates(gates: NDArray[np.float32]) -> messages.Gates:
    layers, groups, experts = gates.shape
    return messages.Gates(layers=layers, groups=groups, experts=experts, values=gates.ravel().tolist())


def _from_refinement(found: RefinementOutcome) -> messages.Refinement:
    fields = asdict(found)
    scores = {name: messages.HeldOutScore(**fields.pop(name)) for name in ("before", "after")}
    return messages.Refinement(**fields, **scores)


def _from_answer(answer: AnswerContract) -> messages.AnswerContract:
    return messages.AnswerContract(
        type=answer.kind,
        choices=answer.choices,
        codes=answer.codes,
        schema_json=answer.schema,
        functions=[messages.Tool(name=each.name, parameters_json=each.parameters) for each in answer.functions],
        none=answer.none,
        parallel=answer.parallel,
    )


def _to_comparison(compared: ProbeComparison) -> messages.ProbeComparison:
    return messages.ProbeComparison(base=_to_scores(compared.base), specialized=_to_scores(compared.specialized))


def _to_scores(scores: EdgeScores) -> messages.ProbeScores:
    return messages.ProbeScores(exact_match=scores.exact_match, log_likelihood=scores.log_likelihood)
