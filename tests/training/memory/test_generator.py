"""Gates: without strength they change nothing, with it they follow the description."""

import torch

from cloud_service.task import TaskDescription
from tests.training.memory.small import SHAPE, small_models
from training.memory.edge import SplitEdge
from training.memory.generator import Generator
from training.memory.pieces import split_description

TASKS = [split_description(TaskDescription(text)) for text in ("Route to send.", "Find it. Find all of it.")]


def test_gates_have_no_effect_at_strength_zero() -> None:
    models = small_models()
    edge = SplitEdge(models.edge, 1)
    generator = Generator(SHAPE, edge.embedding)
    ids, owner = torch.randint(0, 300, (2, 7)), torch.tensor([0, 1])
    lower = edge.lower(ids)
    base = edge.upper(lower, None)
    gates = generator(models.encoder.read(TASKS))
    assert not torch.allclose(edge.upper(lower, generator.bank(gates, owner)), base)
    torch.nn.init.zeros_(generator.strength)
    gates = generator(models.encoder.read(TASKS))
    torch.testing.assert_close(edge.upper(lower, generator.bank(gates, owner)), base)


def test_gates_of_a_description_do_not_depend_on_its_neighbours() -> None:
    models = small_models()
    generator = Generator(SHAPE, models.edge.get_input_embeddings().weight)
    together = generator(models.encoder.read(TASKS))
    alone = generator(models.encoder.read(TASKS[:1]))
    for both, one in zip(together, alone, strict=True):
        torch.testing.assert_close(both[:1], one)
        assert not torch.allclose(both[0], both[1])
