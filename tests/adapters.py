"""Helper: a PEFT adapter without PEFT, for any edge model."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy

from loragen.contract.answer import TEXT_ANSWER, AnswerContract
from loragen.contract.lora import Block, Linears
from loragen.contract.names import peft_name
from loragen.contract.peft_adapter import PeftAdapter


def random_adapter(
    linears: Linears,
    *,
    rank: int = 2,
    seed: int = 0,
    answer: AnswerContract = TEXT_ANSWER,
    config: Mapping[str, Any] | None = None,
    without: frozenset[Block] = frozenset(),
) -> PeftAdapter:
    """Random float32 factors for all linear layers but some; alpha is 2 rank, `config` adds to the configuration."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for block, (width_in, width_out) in linears.items():
        if block not in without:
            tensors[peft_name(*block, "A")] = rng.standard_normal((rank, width_in)).astype(np.float32)
            tensors[peft_name(*block, "B")] = rng.standard_normal((width_out, rank)).astype(np.float32) / 100
    fields = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank} | dict(config or {})
    return PeftAdapter(json.dumps(fields).encode(), safetensors.numpy.save(tensors), answer)
