"""Direct generation: a network's output in the place of a mixture of experts."""

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from cloud_service.generator import LoraGenerator
from cloud_service.generator.edge import edge_shape
from tests.training.models import tiny_config, tiny_model
from training.ablation.direct import DirectGenerator
from training.data.episodes import Mixture
from training.fit.edge_answers import EdgeAnswers
from training.fit.generator import EpisodeBatches, GeneratorSettings, train_generator

WIDTH = 5
IDS, LENGTHS = torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([3, 2])


@pytest.fixture
def direct(tokenizer: PreTrainedTokenizerFast) -> DirectGenerator:
    torch.manual_seed(0)
    shape = edge_shape(tiny_model(tokenizer, 2).config)
    return DirectGenerator(tiny_config(), tiny_model(tokenizer, 1).requires_grad_(False), shape, WIDTH)


def test_factors_have_the_shapes_of_a_mixture(direct: DirectGenerator, tokenizer: PreTrainedTokenizerFast) -> None:
    """So the edge model takes them like any other's; at first they change nothing."""
    mixture = LoraGenerator(tiny_config(), tiny_model(tokenizer, 1), direct.shape).eval()
    with torch.no_grad():
        expected = mixture.bank(mixture(IDS, LENGTHS))
        found = direct.bank(direct(IDS, LENGTHS))
    assert {key: (a.shape, b.shape) for key, (a, b) in found.items()} == {
        key: (a.shape, b.shape) for key, (a, b) in expected.items()
    }
    assert not any(b.any() for _, b in found.values())
    assert all(a.any() for a, _ in found.values())


def test_factors_follow_the_equation(direct: DirectGenerator) -> None:
    """theta_i = f2(SiLU(f1(T_i))) / sqrt(w) + theta_0, for one factor of one layer and one task."""
    with torch.no_grad():
        for parameter in direct.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        state = direct.prompt_encoder(IDS, LENGTHS)[1, 0]
        hidden = torch.nn.functional.silu(state @ direct.routers.f1_weight[0] + direct.routers.f1_bias[0])
        weights = direct.bank.a["up"][0]  # (width, rank, in)
        expected = (hidden @ weights.flatten(1)).view_as(weights[0]) / WIDTH**0.5 + direct.bank.a0["up"][0]
        torch.testing.assert_close(direct.bank(direct(IDS, LENGTHS))[0, "up"][0][1], expected, rtol=1e-4, atol=1e-5)


def test_every_part_trains(
    direct: DirectGenerator, tmp_path: Path, mixture: Mixture, tokenizer: PreTrainedTokenizerFast
) -> None:
    settings = GeneratorSettings(steps=4, tasks=3, inputs=2, warmup=1, longest_prompt=300, longest_turn=80)
    start = {name: value.clone() for name, value in direct.named_parameters()}
    edge = EdgeAnswers(tiny_model(tokenizer, 2), tokenizer, 80)
    batches = EpisodeBatches(mixture, tokenizer, settings)
    cloud = tiny_model(tokenizer, 1).requires_grad_(False)
    train_generator(direct, cloud, edge, batches, settings, tmp_path / "run")
    assert not [name for name, value in direct.named_parameters() if torch.equal(value, start[name])]
    first, second = direct.bank(direct(IDS, LENGTHS))[1, "down"][1]
    assert (first != second).any(), "the LoRA depends on the description"
