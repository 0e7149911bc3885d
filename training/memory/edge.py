"""The edge model in training: a frozen Llama-like LM, split into untouched lower layers and adapted upper ones.

Below the first adapted layer nothing is trained, so nothing is back-propagated there. The LoRA of a task is never
merged here: every row of a batch answers under the core of its own task. Rows are padded on the right; under causal
attention padding cannot reach what stands before it, so there is no mask.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

PROJECTIONS = ("gate", "up", "down")


@dataclass(frozen=True, slots=True)
class Core:
    """The LoRA of one projection for the rows of a batch: `B (G0 + G) A` of the memory, and gated skills.

    Attributes:
        a: (rank, in) float32.
        gates: (rows, rank, rank) float32, G0 + G of the task of each row.
        b: (out, rank) float32.
        skill_a: (skills, in) float32.
        skill_gates: (rows, skills) float32.
        skill_b: (out, skills) float32.
    """

    a: Tensor
    gates: Tensor
    b: Tensor
    skill_a: Tensor
    skill_gates: Tensor
    skill_b: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """What the LoRA adds to the projection of x (rows, length, in)."""
        memory = torch.bmm(x @ self.a.mT, self.gates.mT) @ self.b.mT
        return memory + ((x @ self.skill_a.mT) * self.skill_gates[:, None]) @ self.skill_b.mT


Cores = Mapping[tuple[int, str], Core]
"""By edge layer and projection."""


class SplitEdge(nn.Module):
    """Runs the lower layers without gradient and the upper ones under cores.

    Args:
        model: A Hugging Face Llama model.
        first: Number of the first adapted layer.
    """

    def __init__(self, model: PreTrainedModel, first: int) -> None:
        super().__init__()
        self.decoder = model.model
        self.first = first
        self.heads = model.config.num_attention_heads
        self.key_heads = model.config.num_key_value_heads
        self.embedding: Tensor = model.get_input_embeddings().weight
        self.layers = len(self.decoder.layers)

    @torch.no_grad()
    def lower(self, ids: Tensor) -> Tensor:
        """States in front of the first adapted layer, (rows, length, hidden), of ids (rows, length) int64."""
        h = self.decoder.embed_tokens(ids)
        rotary = self.decoder.rotary_emb(h, torch.arange(ids.shape[1])[None])
        for layer in self.decoder.layers[: self.first]:
            h = self._layer(layer, h, rotary, None)
        return h

    def upper(self, h: Tensor, cores: Cores | None, keep: dict[tuple[int, str], Tensor] | None = None) -> Tensor:
        """States after the final norm; `keep` collects what each adapted projection reads."""
        rotary = self.decoder.rotary_emb(h, torch.arange(h.shape[1])[None])
        for number in range(self.first, self.layers):
            h = self._layer(self.decoder.layers[number], h, rotary, cores, number, keep)
        states: Tensor = self.decoder.norm(h)
        return states

    def _layer(
        self,
        layer: Any,
        h: Tensor,
        rotary: tuple[Tensor, Tensor],
        cores: Cores | None,
        number: int = -1,
        keep: dict[tuple[int, str], Tensor] | None = None,
    ) -> Tensor:
        x = layer.input_layernorm(h)
        rows, length, _ = x.shape
        attention = layer.self_attn
        q = attention.q_proj(x).view(rows, length, self.heads, -1).transpose(1, 2)
        k = attention.k_proj(x).view(rows, length, self.key_heads, -1).transpose(1, 2)
        v = attention.v_proj(x).view(rows, length, self.key_heads, -1).transpose(1, 2)
        q, k = _rotate(q, rotary), _rotate(k, rotary)
        repeat = self.heads // self.key_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + attention.o_proj(mixed.transpose(1, 2).reshape(rows, length, -1))
        x = layer.post_attention_layernorm(h)
        if keep is not None:
            keep[number, "gate"] = x
        gate = _adapted(layer.mlp.gate_proj, x, cores, (number, "gate"))
        up = _adapted(layer.mlp.up_proj, x, cores, (number, "up"))
        inner = nn.functional.silu(gate) * up
        if keep is not None:
            keep[number, "down"] = inner
        return h + _adapted(layer.mlp.down_proj, inner, cores, (number, "down"))


def _adapted(linear: nn.Module, x: Tensor, cores: Cores | None, key: tuple[int, str]) -> Tensor:
    y: Tensor = linear(x)
    return y if cores is None or key not in cores else y + cores[key](x)


def _rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = (each[:, None] for each in rotary)
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin
