"""The edge model in torch: a frozen Hugging Face causal LM, and LoRAs that act on it without being merged.

The families of `loragen.contract.edge_families` share the feed-forward layout that the paper adapts: gate, up and down
projections without bias. Models with another layout are refused.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from cloud_service.generator.errors import UnsupportedModelError
from loragen.contract.edge_families import EDGE_FAMILIES
from loragen.contract.lora import EdgeShape, Linears, Lora

Factors = Mapping[tuple[int, str], tuple[Tensor, Tensor]]
"""By (layer, projection): A (tasks, rank, in) and B (tasks, out, rank), with the scale in B.

A projection without factors answers as the base model does.
"""


def edge_shape(config: PretrainedConfig) -> EdgeShape:
    """The shape of an edge model.

    Raises:
        UnsupportedModelError: The family is not one of `EDGE_FAMILIES`.
    """
    text = config.get_text_config()
    if text.model_type not in EDGE_FAMILIES:
        raise UnsupportedModelError(
            f"edge model is of type {text.model_type!r}, expected one of {', '.join(EDGE_FAMILIES)}"
        )
    return EdgeShape(text.num_hidden_layers, text.hidden_size, text.intermediate_size)


def edge_linears(config: PretrainedConfig) -> Linears:
    """Widths of all linear layers that a LoRA may act on, attention too.

    Raises:
        UnsupportedModelError: The family is not one of `EDGE_FAMILIES`.
    """
    shape, text = edge_shape(config), config.get_text_config()
    size = getattr(text, "head_dim", None) or shape.hidden // text.num_attention_heads
    query, key_value = text.num_attention_heads * size, text.num_key_value_heads * size
    attention = {
        "q": (shape.hidden, query),
        "k": (shape.hidden, key_value),
        "v": (shape.hidden, key_value),
        "o": (query, shape.hidden),
    }
    return {
        (layer, name): attention[name] if name in attention else shape.in_out(name) for layer, name in shape.linears()
    }


def edge_projections(model: PreTrainedModel) -> dict[tuple[int, str], nn.Linear]:
    """The linear layers that a LoRA acts on, by (layer, projection).

    Raises:
        UnsupportedModelError: A layer is missing, or its shape contradicts the configuration.
    """
    shape = edge_shape(model.config)
    decoder = model.get_decoder()
    found: dict[tuple[int, str], nn.Linear] = {}
    for layer, projection in shape.blocks():
        linear = getattr(decoder.layers[layer].mlp, f"{projection}_proj", None)
        if not isinstance(linear, nn.Linear) or (linear.in_features, linear.out_features) != shape.in_out(projection):
            raise UnsupportedModelError(
                f"layer {layer} of {model.config.model_type} has no usable {projection} projection"
            )
        found[layer, projection] = linear
    return found


class UnmergedLora:
    """Adds one LoRA for each task in a batch to an edge model, without changing its weights.

    The batch is sorted by task: with T tasks and R rows, rows 0 .. R/T - 1 belong to the first task.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._factors: Factors | None = None
        self._dropout = 0.0
        for key, linear in edge_projections(model).items():
            linear.register_forward_hook(self._hook(key))

    @contextmanager
    def applied(self, factors: Factors, dropout: float = 0.0) -> Iterator[None]:
        """Within the block, the model answers as if the factors were merged; `dropout` zeroes a share of A's inputs."""
        self._factors, self._dropout = factors, dropout
        try:
            yield
        finally:
            self._factors = None

    def _hook(self, key: tuple[int, str]) -> Callable[..., Tensor]:
        def add_delta(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            if self._factors is None or key not in self._factors:
                return output
            a, b = self._factors[key]
            x = inputs[0].reshape(a.shape[0], -1, a.shape[2])  # (tasks, rows of a task * length, in)
            if self._dropout:
                x = nn.functional.dropout(x, self._dropout)
            delta = x @ a.to(x.dtype).mT @ b.to(x.dtype).mT  # (tasks, rows of a task * length, out)
            return output + delta.view_as(output)

        return add_delta


def lora_factors(lora: Lora) -> dict[tuple[int, str], tuple[Tensor, Tensor]]:
    """A contract LoRA as factors for `UnmergedLora`, for one task."""
    return {key: (torch.tensor(a).float()[None], torch.tensor(b).float()[None]) for key, (a, b) in lora.factors.items()}
