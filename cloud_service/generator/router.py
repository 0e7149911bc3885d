"""From meta states to gates: one router for each edge layer, and the two gatings.

R_i = Norm(f2(SiLU(f1(T_i)))) (paper, equation 3). A gating turns R_i into the gates G_i: `topk_softmax` (equation 4)
or `dense`, which is our own.
"""

import math

import torch
from torch import Tensor, nn

from cloud_service.generator.config import GeneratorConfig


class Routers(nn.Module):
    """The routers of all L layers, stacked so that they are computed together."""

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
            states: T, (tasks, layers, cloud hidden), of any dtype; the result is computed in float32.

        Returns:
            G, (tasks, layers, groups, experts) float32.
        """
        return gate(self.config, self.logits(states))

    def logits(self, states: Tensor) -> Tensor:
        """R, (tasks, layers, groups, experts) float32, which `gate` turns into gates."""
        with torch.autocast(states.device.type, enabled=False):
            # baddbmm multiplies each layer's tasks with that layer's own weights.
            x = states.float().transpose(0, 1)  # (layers, tasks, cloud hidden)
            x = nn.functional.silu(torch.baddbmm(self.f1_bias[:, None], x, self.f1_weight))  # (layers, tasks, width)
            x = torch.baddbmm(self.f2_bias[:, None], x, self.f2_weight)  # (layers, tasks, groups * experts)
            x = x.transpose(0, 1)  # (tasks, layers, groups * experts)
            if self.batch_norm is not None:  # over the tasks of a batch, each of a layer's outputs on its own
                x = self.batch_norm(x.flatten(1)).view_as(x)
            logits = x.unflatten(2, (self.config.groups, self.config.experts))
            # Layer norm goes over the experts of one (task, layer, group).
            return logits if self.layer_norm is None else self.layer_norm(logits)


def gate(config: GeneratorConfig, logits: Tensor) -> Tensor:
    """Gates G from router outputs R, both (..., experts).

    `topk_softmax` takes the softmax, keeps the K largest and divides them by their sum. `dense` takes the signed output
    for every expert, scaled by 1/sqrt(n), so that the size of the mixture does not depend on n.
    """
    if config.gating == "dense":
        return logits / math.sqrt(config.experts)
    weights, chosen = logits.softmax(-1).topk(config.top_k, dim=-1)  # (..., K) both
    weights = weights / weights.sum(-1, keepdim=True)
    # Every expert that was not chosen gets a gate of exactly zero, which assembly skips.
    return torch.zeros_like(logits).scatter(-1, chosen, weights)


def balance_term(gates: Tensor) -> Tensor:
    """Balance loss (paper, equation 6): (std/mean)^2 of the experts' total gates, averaged over layers and groups.

    Args:
        gates: (tasks, layers, groups, experts), from `topk_softmax`; signed gates have no such balance.
    """
    received = gates.sum(0)  # (layers, groups, experts): what each expert gets from all tasks of the batch
    return (received.var(-1, unbiased=False) / received.mean(-1).square()).mean()
