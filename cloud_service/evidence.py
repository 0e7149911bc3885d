"""Evidence of what a LoRA gains: the edge model's answers to a request's probe, or to its own examples.

A LoRA that was made with an example answers it better than other inputs: the choice head reads examples, and those of
an open task stand in front. So each is left out in turn, the generator reads the rest, and the edge model answers the
example under that LoRA. These LoRAs are for the one request and are stored nowhere. They count as a part of the
probe, not as generations of the tenant; so the probe takes its place and counts for the day before the first of them,
and what is too long for the edge model is refused before it. They are generated one after the other: when the
generator's queue has room for the first, the others are not refused. Which examples are left out is decided in
`left_out`.
"""

import asyncio
from collections.abc import Sequence

from cloud_service.answer.contract import find_answer
from cloud_service.catalog import ServedGenerator
from cloud_service.errors import DeadlineError, GenerationError
from cloud_service.generation import Asked
from cloud_service.left_out import LeftOut, leave_each_out
from cloud_service.lora_request import LoraRequest
from cloud_service.probing import ProbeComparison, Trial, verify_expected
from cloud_service.task import Example
from loragen.contract.errors import ContractError
from loragen.contract.recipe import Recipe


def verify_evidence(request: LoraRequest, served: ServedGenerator) -> None:
    """Return when what the request asks to try can be tried; of lengths the edge model's tokenizer decides later.

    Raises:
        InvalidRequestError: The service does not probe, or probe or examples are not fit for it.
    """
    if not request.probes:
        return
    served.require_prober()
    if request.probe_examples:
        _left_out(request, served)
    elif served.info.most_choices and len(options := find_answer(request.task).options) > 1:
        verify_expected(_probe(request), options)


async def gather_evidence(
    request: LoraRequest, served: ServedGenerator, recipe: Recipe, key: str, timeout_seconds: float
) -> ProbeComparison:
    """Let the edge model answer what the request asks to try.

    Args:
        request: With a probe, or with examples to be left out.
        served: The generator that answers the request.
        recipe: Of the request's LoRA.
        key: By which the request is known in the generator's queue when it comes back.
        timeout_seconds: Longest time to generate without the examples.

    Raises:
        InvalidRequestError: As for `verify_evidence`, or a text is too long for the edge model.
        OverloadedError, UsageLimitError, DrainingError, DeadlineError: Ask again later.
        GenerationError: A model failed.
    """
    prober = served.require_prober()
    if not request.probe_examples:
        return await prober.compare([Trial(recipe, _probe(request))])
    left_out = _left_out(request, served)
    served.runner.verify_room(key)
    async with prober.reserve() as place:
        # Without one of the examples others may fit into the residual prompt: what is longer then is refused behind.
        await prober.verify_lengths([Trial(recipe, each.examples) for each in left_out], place)
        trials = await _generate_each(left_out, served, key, timeout_seconds)
        return await prober.compare(trials, place)


async def _generate_each(
    left_out: Sequence[LeftOut], served: ServedGenerator, key: str, timeout_seconds: float
) -> list[Trial]:
    trials = []
    try:
        async with asyncio.timeout(timeout_seconds):
            for each in left_out:
                made = await served.runner.generate(Asked.of(each.task), timeout_seconds, key, has_room=True)
                trials.append(Trial(made.generation.recipe(served.info, served.bank.digest), each.examples))
    except TimeoutError:
        raise DeadlineError(
            f"examples: not left out one after the other within {timeout_seconds:g} s",
            "the service may be overloaded; ask again, or without probe_examples",
        ) from None
    except ContractError as e:
        raise GenerationError(f"the generator {served.info.id} made no usable LoRA: {e}", e.hint) from e
    return trials


def _left_out(request: LoraRequest, served: ServedGenerator) -> tuple[LeftOut, ...]:
    return leave_each_out(request.task, has_codes=served.info.most_choices > 0)


def _probe(request: LoraRequest) -> dict[str, Example]:
    return {f"probe.{number}": example for number, example in enumerate(request.probe)}
