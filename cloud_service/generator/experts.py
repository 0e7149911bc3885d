"""The expert bank in torch: n LoRA experts for each edge layer, and their mixture under gates.

This is the trained side of `loragen.contract.assembly`: the same mixture, differentiable and batched over tasks. What a
device merges is always assembled by the contract; a test holds the two together.
"""

import math

import torch
from torch import Tensor, nn

from cloud_service.generator.config import GeneratorConfig
from loragen.contract.lora import EdgeShape
from loragen.contract.names import PROJECTIONS


class ExpertBank(nn.Module):
    """Experts as two tensors a projection: A (layers, n, rank, in), random; B (layers, n, out, rank), zero at first."""

    def __init__(self, config: GeneratorConfig, shape: EdgeShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        for projection in PROJECTIONS:
            size_in, size_out = shape.in_out(projection)
            a = torch.randn(shape.layers, config.experts, config.rank, size_in) / math.sqrt(size_in)
            self.a[projection] = nn.Parameter(a)
            self.b[projection] = nn.Parameter(torch.zeros(shape.layers, config.experts, size_out, config.rank))

    def forward(self, gates: Tensor) -> dict[tuple[int, str], tuple[Tensor, Tensor]]:
        """The LoRA of each task (paper, equation 5).

        Args:
            gates: (tasks, layers, groups, experts) float32.

        Returns:
            By (layer, projection): A (tasks, R, in) and B (tasks, out, R), the scale alpha/rank folded into B. R is the
            rank for mix `parameters`, and n times the rank for `deltas`.
        """
        scale = self.config.alpha / self.config.rank
        factors = {}
        for layer in range(self.shape.layers):
            for index, projection in enumerate(PROJECTIONS):
                share = gates[:, layer, index if self.config.groups == 3 else 0]  # (tasks, n)
                a, b = self.a[projection][layer], self.b[projection][layer]
                if self.config.mix == "parameters":
                    mixed_a = (share @ a.flatten(1)).unflatten(1, a.shape[1:])
                    mixed_b = (share @ b.flatten(1)).unflatten(1, b.shape[1:])
                else:
                    mixed_a = a.flatten(0, 1).expand(len(share), -1, -1)
                    mixed_b = (share[:, :, None, None] * b).permute(0, 2, 1, 3).flatten(2)
                factors[layer, projection] = (mixed_a, scale * mixed_b)
        return factors
