"""The generator as one module."""

import torch

from cloud_service.generator.edge import edge_shape
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
