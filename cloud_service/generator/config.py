"""Values: everything that shapes a generator, as `generator.json` keeps it."""

from dataclasses import dataclass
from typing import Literal

from cloud_service.generator.errors import CheckpointError

Gating = Literal["topk_softmax", "dense"]
Norm = Literal["batch", "layer", "none"]
Mix = Literal["parameters", "deltas"]


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Settings of one generator; names follow the paper.

    Attributes:
        id: Name of the generator.
        experts: n, experts in each edge layer.
        top_k: K, experts kept by `topk_softmax`; ignored by `dense`.
        groups: G, 1: one gate for a layer's three projections (paper); 3: gate, up and down have their own.
        rank: LoRA rank of one expert.
        alpha: LoRA alpha; the scale is alpha / rank.
        router_width: Width of f1's output.
        adapter_rank: Rank of the LoRA on the cloud model's q and v projections; 0 when the cloud model itself was
            trained.
        max_prompt_tokens: Longest prompt, in tokens of the cloud model.

    Raises:
        CheckpointError: A combination that has no meaning.
    """

    id: str
    experts: int = 8
    top_k: int = 2
    gating: Gating = "topk_softmax"
    groups: int = 1
    mix: Mix = "parameters"
    rank: int = 16
    alpha: float = 16.0
    norm: Norm = "batch"
    router_width: int = 256
    adapter_rank: int = 16
    max_prompt_tokens: int = 4096

    def __post_init__(self) -> None:
        for name in ("experts", "rank", "alpha", "router_width", "max_prompt_tokens"):
            if getattr(self, name) <= 0:
                raise CheckpointError(f"{name} is {getattr(self, name)}, expected more than 0")
        if self.adapter_rank < 0:
            raise CheckpointError(f"adapter_rank is {self.adapter_rank}, expected 0 or more")
        if self.gating not in ("topk_softmax", "dense"):
            raise CheckpointError(f"gating is {self.gating!r}, expected topk_softmax or dense")
        if self.norm not in ("batch", "layer", "none"):
            raise CheckpointError(f"norm is {self.norm!r}, expected batch, layer or none")
        if self.mix not in ("parameters", "deltas"):
            raise CheckpointError(f"mix is {self.mix!r}, expected parameters or deltas")
        if self.groups not in (1, 3):
            raise CheckpointError(f"groups is {self.groups}, expected 1 or 3")
        if not 1 <= self.top_k <= self.experts:
            raise CheckpointError(f"top_k is {self.top_k}, expected 1 to {self.experts} (experts)")
