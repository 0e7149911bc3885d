"""The settings of one generator, as `generator.json` stores them."""

from dataclasses import dataclass
from typing import Literal, get_args

from cloud_service.generator.choice_head import ChoiceHeadConfig
from cloud_service.generator.errors import CheckpointError
from loragen.contract.mixes import Mix
from loragen.contract.recipe import GROUP_COUNTS

Gating = Literal["topk_softmax", "dense"]
Norm = Literal["batch", "layer", "none"]


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Settings of one generator; names follow the paper.

    Attributes:
        id: Name of the generator.
        first_layer: The first edge layer that is adapted, counted from 0; those below it stay as they are.
        experts: n, experts in each adapted layer.
        call_experts: Experts behind those n that write the arguments of calls: each has the gate 1 where an answer is a
            call, and 0 elsewhere.
        label_experts: Experts behind those that judge an input whose labels the choice head chooses from: each has the
            gate 1 where the task has labels and a residual prompt, and 0 elsewhere.
        top_k: K, experts kept by `topk_softmax`; ignored by `dense`.
        groups: G; with 1 a layer's three projections share their gates (paper), with 3 each has its own.
        rank: LoRA rank of one expert.
        alpha: LoRA alpha; the scale is alpha / rank.
        router_width: Width of f1's output.
        adapter_rank: Rank of the LoRA on the q and v projections of the cloud model; 0 when the cloud model itself was
            trained.
        max_prompt_tokens: Longest prompt, in tokens of the cloud model.
        residual_prompt_tokens: Longest residual prompt, in tokens of the edge model; 0 for none.
        choice: The choice head; None for a generator without one.
        codes: Tokens of the edge model that its choices are written as, in their order. Empty without a head, and
            before training, which finds them.

    Raises:
        CheckpointError: A combination that has no meaning.
    """

    id: str
    first_layer: int = 0
    experts: int = 8
    call_experts: int = 0
    label_experts: int = 0
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
    residual_prompt_tokens: int = 0
    choice: ChoiceHeadConfig | None = None
    codes: tuple[int, ...] = ()

    @property
    def all_experts(self) -> int:
        """Experts of the bank in each layer: gated ones, then those for calls, then those for labels."""
        return self.experts + self.call_experts + self.label_experts

    def __post_init__(self) -> None:
        for name in ("experts", "rank", "alpha", "router_width", "max_prompt_tokens"):
            if getattr(self, name) <= 0:
                raise CheckpointError(f"{name} is {getattr(self, name)}, expected more than 0")
        for name in ("adapter_rank", "call_experts", "label_experts", "first_layer", "residual_prompt_tokens"):
            if getattr(self, name) < 0:
                raise CheckpointError(f"{name} is {getattr(self, name)}, expected 0 or more")
        choices = {"gating": get_args(Gating), "norm": get_args(Norm), "mix": get_args(Mix), "groups": GROUP_COUNTS}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise CheckpointError(f"{name} is {getattr(self, name)!r}, expected {' or '.join(map(str, allowed))}")
        if self.label_experts and self.choice is None:
            raise CheckpointError(f"found {self.label_experts} label experts and no choice head")
        if self.codes and self.choice is None:
            raise CheckpointError(f"found {len(self.codes)} codes and no choice head")
        if not 1 <= self.top_k <= self.experts:
            raise CheckpointError(f"top_k is {self.top_k}, expected 1 to {self.experts} (experts)")
