"""Values and the port between the service and whatever turns a prompt into gates.

The real implementation is `cloud_service.generator` (torch); tests bring their own. Nothing here knows of torch, HTTP
or stores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from contract.bank import Bank


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
class Generation:
    """The outcome of one generation.

    Attributes:
        gates: (layers, groups, experts) float32.
        prompt_tokens: Length of the prompt in tokens of the *edge* model: what the device saves on each call.
    """

    gates: NDArray[np.float32]
    prompt_tokens: int


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
