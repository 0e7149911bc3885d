"""The expert bank in torch: n LoRA experts for each edge layer, and their mixture under gates.

Training uses this mixture, which is differentiable and batched over tasks. Devices merge what
`loragen.contract.assembly` computes from the same experts; a test proves that the two agree.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from cloud_service.generator.config import GeneratorConfig
from loragen.contract.lora import EdgeShape
from loragen.contract.mixes import Mix
from loragen.contract.names import PROJECTIONS


def _mix_parameters(share: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """sum_j g_j A_j and sum_j g_j B_j, as one product of (tasks, n) with the experts laid out flat."""
    mixed_a = (share @ a.flatten(1)).unflatten(1, a.shape[1:])  # (tasks, rank, in)
    mixed_b = (share @ b.flatten(1)).unflatten(1, b.shape[1:])  # (tasks, out, rank)
    return mixed_a, mixed_b


def _mix_deltas(share: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """A = [A_1 ... A_n] for every task, and B = [g_1 B_1 ... g_n B_n], whose product is sum_j g_j B_j A_j."""
    mixed_a = a.flatten(0, 1).expand(len(share), -1, -1)  # (tasks, n * rank, in)
    gated = share[:, :, None, None] * b  # (tasks, n, out, rank)
    return mixed_a, gated.permute(0, 2, 1, 3).flatten(2)  # B: (tasks, out, n * rank)


MIXTURES: Mapping[Mix, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]] = MappingProxyType(
    {"parameters": _mix_parameters, "deltas": _mix_deltas}
)
"""By mix: gates (tasks, n), A (n, rank, in) and B (n, out, rank), to A (tasks, R, in) and B (tasks, out, R)."""


class ExpertBank(nn.Module):
    """The experts of the adapted layers, by projection: A (layers, n, rank, in) and B (layers, n, out, rank).

    A begins random and B zero, so that an untrained expert changes nothing.
    """

    def __init__(self, config: GeneratorConfig, shape: EdgeShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        layers = shape.layers - config.first_layer
        for projection in PROJECTIONS:
            size_in, size_out = shape.in_out(projection)
            a = torch.randn(layers, config.experts, config.rank, size_in) / math.sqrt(size_in)
            self.a[projection] = nn.Parameter(a)
            self.b[projection] = nn.Parameter(torch.zeros(layers, config.experts, size_out, config.rank))

    @property
    def whole_gates(self) -> Tensor:
        """Gates of one task that are all 1, (1, adapted layers, groups, experts) float32."""
        layers, groups = self.shape.layers - self.config.first_layer, self.config.groups
        return torch.ones(1, layers, groups, self.config.experts, device=self.a["down"].device)

    def forward(self, gates: Tensor) -> dict[tuple[int, str], tuple[Tensor, Tensor]]:
        """The LoRA of each task (paper, equation 5).

        Args:
            gates: G, (tasks, adapted layers, groups, experts) float32.

        Returns:
            By (layer of the edge model, projection): A (tasks, R, in) and B (tasks, out, R), with the scale alpha/rank
            already in B. R is the rank for the mix `parameters`, and n times the rank for `deltas`.
        """
        mix, scale = MIXTURES[self.config.mix], self.config.alpha / self.config.rank
        factors = {}
        for layer in range(gates.shape[1]):
            for index, projection in enumerate(PROJECTIONS):
                # The gates of this projection: its own with 3 groups, shared by the layer's projections with 1.
                share = gates[:, layer, index if self.config.groups == 3 else 0]  # (tasks, n)
                a, b = self.a[projection][layer], self.b[projection][layer]  # (n, rank, in), (n, out, rank)
                mixed_a, mixed_b = mix(share, a, b)
                factors[self.config.first_layer + layer, projection] = (mixed_a, scale * mixed_b)
        return factors
