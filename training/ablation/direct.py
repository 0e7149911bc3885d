"""Direct generation without experts, for the ablation only: a feed-forward network for each layer writes the LoRA.

    h_i = SiLU(f1(T_i)) in R^w;  theta_i = f2(h_i) / sqrt(w) + theta_0, for all factors of layer i at once

There is no gate over a shared set that a recipe could carry, so nothing of this is served. The weights of f2 have the
shapes of w experts, and are trained and counted as such; what differs from a bank is that h has no bottleneck of its
own (norm, softmax, top K) and that theta_0 is the same for every description.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cloud_service.generator.config import GeneratorConfig
from cloud_service.generator.experts import ExpertBank
from cloud_service.generator.model import LoraGenerator
from cloud_service.generator.router import Routers
from loragen.contract.lora import EdgeShape
from loragen.contract.names import PROJECTIONS


class DirectGenerator(LoraGenerator):
    """A generator whose LoRA is the output of a network; trained by `train_generator` like any other.

    Args:
        config: Of the prompt encoder and the LoRA; what it says of experts, gating and routers does not count.
        cloud: The cloud model.
        shape: Of the edge model.
        width: w, hidden units of each layer's network.
    """

    def __init__(self, config: GeneratorConfig, cloud: PreTrainedModel, shape: EdgeShape, width: int) -> None:
        own = replace(
            config, experts=width, top_k=1, gating="dense", groups=1, mix="parameters", norm="none", router_width=width
        )
        super().__init__(own, cloud, shape)
        self.routers = HiddenUnits(own, shape.layers, self.prompt_encoder.meta.shape[1])
        self.bank = DirectHeads(own, shape)


class HiddenUnits(Routers):
    """f1 of each layer."""

    def __init__(self, config: GeneratorConfig, layers: int, cloud_hidden: int) -> None:
        super().__init__(config, layers, cloud_hidden)
        del self.f2_weight, self.f2_bias

    def logits(self, states: Tensor) -> Tensor:
        """h, (tasks, layers, 1, width) float32."""
        with torch.autocast(states.device.type, enabled=False):
            x = torch.baddbmm(self.f1_bias[:, None], states.float().transpose(0, 1), self.f1_weight)
            return nn.functional.silu(x).transpose(0, 1)[:, :, None]


class DirectHeads(ExpertBank):
    """f2 of each layer: its weights are the bank's tensors, theta_0 its bias; B is zero at first, as a bank's is."""

    def __init__(self, config: GeneratorConfig, shape: EdgeShape) -> None:
        super().__init__(config, shape)
        self.a0, self.b0 = nn.ParameterDict(), nn.ParameterDict()
        for projection in PROJECTIONS:
            size_in, size_out = shape.in_out(projection)
            a0 = torch.randn(shape.layers, config.rank, size_in) / math.sqrt(size_in)
            self.a0[projection] = nn.Parameter(a0)
            self.b0[projection] = nn.Parameter(torch.zeros(shape.layers, size_out, config.rank))

    def forward(self, gates: Tensor) -> dict[tuple[int, str], tuple[Tensor, Tensor]]:
        """The LoRA of each task, as a bank gives it, from h / sqrt(w), (tasks, layers, 1, width) float32."""
        scale = self.config.alpha / self.config.rank
        return {
            (layer, projection): (a + self.a0[projection][layer], b + scale * self.b0[projection][layer])
            for (layer, projection), (a, b) in super().forward(gates).items()
        }
