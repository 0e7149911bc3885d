"""The generator as one module."""

import pytest
import torch

from cloud_service.generator.edge import edge_shape
from cloud_service.generator.errors import CheckpointError
from cloud_service.generator.model import LoraGenerator
from tests.cloud_service.generator.tiny import generator_config, random_model


def test_gates_are_the_routers_of_the_meta_states() -> None:
    shape = edge_shape(random_model("llama", seed=1).config)
    generator = LoraGenerator(generator_config(), random_model("llama"), shape).eval()
    ids, lengths = torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([3, 2])
    gates = generator(ids, lengths)
    config = generator.config
    assert gates.shape == (2, shape.layers, config.groups, config.experts)
    assert torch.equal(gates, generator.routers(generator.prompt_encoder(ids, lengths)))


def test_layers_below_the_first_adapted_one_have_neither_gates_nor_experts() -> None:
    edge = random_model("llama", seed=1)
    generator = LoraGenerator(generator_config(first_layer=1), random_model("llama"), edge_shape(edge.config)).eval()
    gates = generator(torch.tensor([[5, 6, 7]]), torch.tensor([3]))
    assert gates.shape[1] == generator.shape.layers - 1
    assert {layer for layer, _ in generator.bank(gates)} == {1}


def test_at_least_one_layer_is_adapted() -> None:
    shape = edge_shape(random_model("llama").config)
    with pytest.raises(CheckpointError, match="first_layer is 2"):
        LoraGenerator(generator_config(first_layer=shape.layers), random_model("llama"), shape)
