"""Schemas of the answers over HTTP, as the OpenAPI document shows them. Errors are in `loragen.web.answers`.

They are written here and not shared with `loragen.client`, whose values also take fields that a later service adds.
"""

from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from cloud_service.generation import GeneratorInfo, ProbeScores
from cloud_service.probing import ProbeComparison
from cloud_service.schemas import DeviceReport
from cloud_service.service import GeneratedLora


class DeviceList(BaseModel):
    """The devices of a channel, the most recent report first."""

    devices: list[DeviceReport]


class Reference(BaseModel):
    """A model or generator, and its digest."""

    id: str
    digest: str


class AnswerTimings(BaseModel):
    """Milliseconds that each part took; all but the total are 0 when nothing was generated for this answer."""

    queue_ms: float
    generate_ms: float
    assemble_ms: float
    total_ms: float


class Links(BaseModel):
    """Paths to fetch from next."""

    bundle: str
    recipe: str
    bank: str
    channel: str | None = Field(default=None, exclude_if=lambda channel: channel is None)


class WarningAnswer(BaseModel):
    """A warning about the task description."""

    code: str = Field(description="`low_confidence`, `far_from_training` or `contradictory_examples`.")
    message: str


class ProbeScoresAnswer(BaseModel):
    """The edge model's scores on the probe."""

    exact_match: float = Field(description="Share of the inputs that greedy decoding answers exactly.")
    log_likelihood: float = Field(description="Natural logarithm of the probability of an answer; mean over inputs.")

    @classmethod
    def of(cls, scores: ProbeScores) -> Self:
        """The scores as they go over the wire."""
        return cls(exact_match=round(scores.exact_match, 4), log_likelihood=round(scores.log_likelihood, 4))


class ProbeAnswer(BaseModel):
    """The edge model on the probe's inputs, without the task description: without the LoRA, and with it."""

    base: ProbeScoresAnswer
    specialized: ProbeScoresAnswer

    @classmethod
    def of(cls, compared: ProbeComparison) -> Self:
        """The comparison as it goes over the wire."""
        return cls(base=ProbeScoresAnswer.of(compared.base), specialized=ProbeScoresAnswer.of(compared.specialized))


class GenerateLoraAnswer(BaseModel):
    """The LoRA for a task description."""

    id: str = Field(description="Bundle id: sha256 of its bytes.")
    bundle_bytes: int
    recipe_id: str
    recipe_bytes: int
    cached: bool = Field(description="Whether an earlier or concurrent request did the work.")
    generator: Reference
    edge_model: Reference
    gates: list[list[list[float]]] = Field(
        description="(layers, groups, experts), rounded to 4 decimals for reading; the recipe has every bit."
    )
    prompt_tokens: int = Field(description="Length of the prompt that the LoRA replaces, in tokens of the edge model.")
    tokens_saved_per_call: int
    confidence: float | None = Field(
        description="Probability that the generator can follow the task; null when it was not calibrated."
    )
    warnings: list[WarningAnswer]
    probe: ProbeAnswer | None = Field(default=None, exclude_if=lambda probe: probe is None)
    timings: AnswerTimings
    links: Links

    @classmethod
    def of(cls, answer: GeneratedLora) -> Self:
        """The answer as it goes over the wire."""
        lora, recipe, timings = answer.lora, answer.recipe, answer.timings
        return cls(
            id=lora.bundle_id,
            bundle_bytes=lora.bundle_bytes,
            recipe_id=lora.recipe_id,
            recipe_bytes=len(lora.recipe),
            cached=answer.cached,
            generator=Reference(id=recipe.generator_id, digest=recipe.generator_digest),
            edge_model=Reference(id=recipe.edge_model_id, digest=recipe.edge_model_digest),
            gates=_readable(recipe.gates),
            prompt_tokens=recipe.prompt_tokens,
            tokens_saved_per_call=recipe.prompt_tokens,
            confidence=None if answer.confidence is None else round(answer.confidence.score, 4),
            warnings=[WarningAnswer(code=warning.code, message=warning.message) for warning in answer.warnings],
            probe=None if answer.probe is None else ProbeAnswer.of(answer.probe),
            timings=AnswerTimings(
                queue_ms=_milliseconds(timings.queue),
                generate_ms=_milliseconds(timings.generate),
                assemble_ms=_milliseconds(timings.assemble),
                total_ms=_milliseconds(timings.total),
            ),
            links=Links(
                bundle=f"/bundles/{lora.bundle_id}",
                recipe=f"/recipes/{lora.recipe_id}",
                bank=f"/generators/{recipe.generator_id}/bank",
                channel=None if answer.channel is None else f"/channels/{answer.channel}",
            ),
        )


class BankAnswer(BaseModel):
    """The expert bank of a generator."""

    digest: str
    bytes: int
    link: str


class GeneratorAnswer(BaseModel):
    """A loaded generator."""

    id: str
    digest: str
    default: bool
    cloud_model: Reference
    edge_model: Reference
    layers: int
    groups: int
    experts: int
    rank: int
    alpha: float
    mix: str
    gating: str
    max_prompt_tokens: int
    bank: BankAnswer

    @classmethod
    def of(cls, info: GeneratorInfo, *, bank_digest: str, bank_bytes: int, default: bool) -> Self:
        """The generator as it goes over the wire."""
        return cls(
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
            bank=BankAnswer(digest=bank_digest, bytes=bank_bytes, link=f"/generators/{info.id}/bank"),
        )


class GeneratorList(BaseModel):
    """The loaded generators."""

    generators: list[GeneratorAnswer]


class HealthAnswer(BaseModel):
    """Alive, or ready."""

    status: str


def _readable(gates: NDArray[np.float32]) -> list[list[list[float]]]:
    rounded: list[list[list[float]]] = np.round(gates.astype(np.float64), 4).tolist()
    return rounded


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
