"""The generator as one module: prompt encoder, routers, expert bank, and maybe ungated experts and a choice head.

Training updates it; `cloud_service.generator.inference` runs it.
"""

from dataclasses import replace

from torch import Tensor, nn
from transformers import PreTrainedModel

from cloud_service.generator.choice_head import ChoiceHead
from cloud_service.generator.config import GeneratorConfig
from cloud_service.generator.errors import CheckpointError
from cloud_service.generator.experts import ExpertBank
from cloud_service.generator.prompt_encoder import PromptEncoder
from cloud_service.generator.router import Routers
from loragen.contract.lora import EdgeShape


class LoraGenerator(nn.Module):
    """Everything that is trained for one pair of models, which excludes the cloud model's own weights."""

    def __init__(self, config: GeneratorConfig, cloud: PreTrainedModel, shape: EdgeShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        adapted = shape.layers - config.first_layer
        if adapted < 1:
            raise CheckpointError(f"first_layer is {config.first_layer}, and the edge model has {shape.layers} layers")
        self.prompt_encoder = PromptEncoder(config, cloud, adapted)
        self.routers = Routers(config, adapted, self.prompt_encoder.meta.shape[1])
        self.bank = ExpertBank(config, shape)
        self.calls = _ungated(config, config.call_experts, shape)
        self.labels = _ungated(config, config.label_experts, shape)
        self.choice: ChoiceHead | None = None
        if config.choice is not None:
            if not 0 <= config.choice.first_layer < shape.layers:
                raise CheckpointError(
                    f"the choice head begins at layer {config.choice.first_layer}, "
                    f"and the edge model has {shape.layers} layers"
                )
            if not config.codes:
                raise CheckpointError("the choice head has no codes: training finds them, and generator.json has them")
            encoder = self.prompt_encoder.meta.shape[1]
            self.choice = ChoiceHead(
                config.choice, shape.layers, shape.intermediate, shape.hidden, encoder, len(config.codes)
            )

    @property
    def banks(self) -> tuple[ExpertBank, ...]:
        """All experts, in the order of the stored bank: gated ones, those for calls, those for labels."""
        return tuple(bank for bank in (self.bank, self.calls, self.labels) if bank is not None)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Gates for prompts (tasks, longest) int64, padded on the right.

        Returns:
            (tasks, adapted layers, groups, experts) float32.
        """
        gates: Tensor = self.routers(self.prompt_encoder(ids, lengths))
        return gates


def _ungated(config: GeneratorConfig, experts: int, shape: EdgeShape) -> ExpertBank | None:
    """Experts that no router gates; none of them gives None."""
    return ExpertBank(replace(config, experts=experts, top_k=1), shape) if experts else None
