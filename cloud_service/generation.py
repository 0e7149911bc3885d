"""Values and the port between the service and whatever turns a prompt into gates.

The real implementation is `cloud_service.generator` (torch); tests bring their own. Nothing here knows of torch, HTTP
or stores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cloud_service.task import Example
from loragen.contract.bank import Bank
from loragen.contract.lora import Lora


@dataclass(frozen=True, slots=True)
class GeneratorInfo:
    """What identifies a generator and bounds its requests.

    Attributes:
        id: Name chosen at training.
        digest: sha256 over `generator.json`, which lists the digest of every other file of the checkpoint.
        layers: Edge layers L.
        groups: Groups of blocks G that have gates of their own, 1 or 3.
        experts: Experts n in each layer.
        rank: LoRA rank of one expert.
        max_prompt_tokens: Longest rendered prompt, in tokens of the cloud model.
    """

    id: str
    digest: str
    cloud_model_id: str
    cloud_model_digest: str
    edge_model_id: str
    edge_model_digest: str
    layers: int
    groups: int
    experts: int
    rank: int
    alpha: float
    mix: str
    gating: str
    max_prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Confidence:
    """What a calibrated generator says of a prompt.

    Attributes:
        score: How likely it is that the prompt is a description that the generator can follow, in [0, 1].
        is_familiar: Whether it is as near to the descriptions of training as nearly all of those are to each other.

    Raises:
        ValueError: The score is not in [0, 1].
    """

    score: float
    is_familiar: bool

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"expected an confidence in [0, 1], found {self.score}")


@dataclass(frozen=True, slots=True)
class Generation:
    """The outcome of one generation.

    Attributes:
        gates: (layers, groups, experts) float32.
        prompt_tokens: Length of the prompt in tokens of the *edge* model: what the device saves on each call.
        confidence: None when the generator was not calibrated.
    """

    gates: NDArray[np.float32]
    prompt_tokens: int
    confidence: Confidence | None = None


@dataclass(frozen=True, slots=True)
class ProbeScores:
    """How the edge model did on given inputs.

    Attributes:
        exact_match: Share of the inputs that greedy decoding answers exactly, in [0, 1].
        log_likelihood: Natural logarithm of the probability of a whole answer, its end included; mean over the inputs.
    """

    exact_match: float
    log_likelihood: float


class EdgeProbe(Protocol):
    """The edge model itself, in memory. Calls block; the caller makes them from one thread at a time."""

    @property
    def max_tokens(self) -> int:
        """Longest input with its answer, in tokens of the edge model."""
        ...

    def count_tokens(self, example: Example) -> int:
        """Length of an input with its answer, as the edge model reads them."""
        ...

    def score(self, examples: Sequence[Example], lora: Lora | None) -> ProbeScores:
        """Scores on at least one input, without the task description; under a LoRA, or as the base model is."""
        ...


class LoadedGenerator(Protocol):
    """A generator in memory. Calls block; the caller makes them from one thread at a time."""

    @property
    def info(self) -> GeneratorInfo: ...

    @property
    def bank(self) -> Bank: ...

    def count_tokens(self, prompt: str) -> int:
        """Length of a rendered prompt in tokens of the cloud model."""
        ...

    def generate(self, prompts: Sequence[str]) -> list[Generation]:
        """Gates for each rendered prompt; one prompt's gates do not depend on the others."""
        ...

    def load_probe(self) -> EdgeProbe:
        """Loads the weights of the edge model, which generating does not need. Takes seconds and memory."""
        ...
