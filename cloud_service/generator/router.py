"""From meta states to gates: one router for each edge layer, and the two gatings.

R_i = Norm(f2(SiLU(f1(T_i)))) (paper, equation 3); the gates G_i follow by `topk_softmax` (equation 4) or `dense`.
"""

import math

import torch
from torch import Tensor, nn

from cloud_service.generator.config import GeneratorConfig


class Routers(nn.Module):
    """The routers of all L layers, computed together."""

    def __init__(self, config: GeneratorConfig, layers: int, cloud_hidden: int) -> None:
        super().__init__()
        self.config = config
        outputs = config.groups * config.experts
        self.f1_weight = nn.Parameter(torch.randn(layers, cloud_hidden, config.router_width) / math.sqrt(cloud_hidden))
        self.f1_bias = nn.Parameter(torch.zeros(layers, config.router_width))
        self.f2_weight = nn.Parameter(
            torch.randn(layers, config.router_width, outputs) / math.sqrt(config.router_width)
        )
        self.f2_bias = nn.Parameter(torch.zeros(layers, outputs))
        self.batch_norm = nn.BatchNorm1d(layers * outputs) if config.norm == "batch" else None
        self.layer_norm = nn.LayerNorm(config.experts) if config.norm == "layer" else None

    def forward(self, states: Tensor) -> Tensor:
        """Gates for a batch of tasks.

        Args:
            states: T, (tasks, layers, cloud hidden); computed in float32 whatever the dtype.

        Returns:
            G, (tasks, layers, groups, experts) float32.
        """
        return gate(self.config, self.logits(states))

    def logits(self, states: Tensor) -> Tensor:
        """R, what `gate` turns into gates, of the same shape."""
        with torch.autocast(states.device.type, enabled=False):
            x = states.float().transpose(0, 1)  # (layers, tasks, cloud hidden)
            x = nn.functional.silu(torch.baddbmm(self.f1_bias[:, None], x, self.f1_weight))
            x = torch.baddbmm(self.f2_bias[:, None], x, self.f2_weight)
            x = x.transpose(0, 1)  # (tasks, layers, groups * experts)
            if self.batch_norm is not None:
                x = self.batch_norm(x.flatten(1)).view_as(x)
            logits = x.unflatten(2, (self.config.groups, self.config.experts))
            return logits if self.layer_norm is None else self.layer_norm(logits)


def gate(config: GeneratorConfig, logits: Tensor) -> Tensor:
    """Router outputs to gates, over the last dimension.

    `topk_softmax`: softmax, keep the K largest, renormalize to sum 1. `dense`: the signed outputs of every expert,
    scaled by 1/sqrt(n) so that the mixture's size does not depend on n.
    """
    if config.gating == "dense":
        return logits / math.sqrt(config.experts)
    weights, chosen = logits.softmax(-1).topk(config.top_k, dim=-1)
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.zeros_like(logits).scatter(-1, chosen, weights)


def balance_term(gates: Tensor) -> Tensor:
    """(std/mean)^2 of what each expert receives in a batch, per layer and group, averaged (paper, equation 6).

    Args:
        gates: (tasks, layers, groups, experts), from `topk_softmax`; signed gates have no such balance.
    """
    received = gates.sum(0)  # (layers, groups, experts)
    return (received.var(-1, unbiased=False) / received.mean(-1).square()).mean()
