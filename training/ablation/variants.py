"""The variants of the ablations: each changes one thing of the paper's default, but `ours`, which changes four."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloud_service.generator import GeneratorConfig

PAPER = GeneratorConfig(id="ablation", rank=8, alpha=8.0, adapter_rank=0, max_prompt_tokens=320)
"""The paper's default at a small rank: 8 experts, top 2, one gate a layer, batch norm."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What one row of the table changes.

    Attributes:
        name: In the table and on the command line.
        config: Fields of `GeneratorConfig` that differ from the paper's default.
        fit: Fields of `GeneratorSettings` that differ.
        direct: Hidden units of direct generation; 0: a bank of experts.
        warm: Experts start as oracles of tasks from training.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)
    direct: int = 0
    warm: bool = False


DEFAULT = "paper"
VARIANTS = (
    Variant(DEFAULT),
    Variant("n=4", {"experts": 4}),
    Variant("n=12", {"experts": 12}),
    Variant("K=1", {"top_k": 1}),
    Variant("K=4", {"top_k": 4}),
    Variant("balance=0", fit={"balance_weight": 0.0}),
    Variant("balance=0.005", fit={"balance_weight": 0.005}),
    Variant("balance=0.1", fit={"balance_weight": 0.1}),
    Variant("gumbel", fit={"gumbel": 1.0}),
    Variant("contrast", fit={"contrast": 0.5}),
    Variant("oracles", warm=True),
    Variant("direct", direct=10),  # as many parameters as the default
    Variant("mix=deltas", {"mix": "deltas"}),
    Variant("norm=layer", {"norm": "layer"}),
    Variant("norm=none", {"norm": "none"}),
    Variant("dense", {"gating": "dense"}),
    Variant("ours", {"gating": "dense", "experts": 96, "groups": 3, "norm": "layer"}),
    Variant("adapter", {"adapter_rank": 8}),
)
