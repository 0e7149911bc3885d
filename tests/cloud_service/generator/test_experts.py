"""What is trained is what is merged: the bank in torch against the contract's assembly of the stored bank."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from cloud_service.generator.checkpoint import ModelReference, read_manifest, store_generator
from cloud_service.generator.config import Gating
from cloud_service.generator.experts import MIXTURES, ExpertBank
from cloud_service.generator.router import gate
from loragen.contract.assembly import assemble
from loragen.contract.bank import Bank
from loragen.contract.lora import EdgeShape
from loragen.contract.mixes import MIXES, Mix
from tests.cloud_service.generator.tiny import generator_config, load_experts, random_generator, random_model

TASKS = 3
REFERENCE = ModelReference("test/edge", "0" * 64)


@pytest.mark.parametrize("gating", ["topk_softmax", "dense"])
@pytest.mark.parametrize(("groups", "first_layer"), [(1, 0), (3, 0), (3, 1)])
@pytest.mark.parametrize("mix", get_args(Mix))
def test_assembled_lora_is_the_mixture_of_training(
    tmp_path: Path, mix: Mix, groups: int, first_layer: int, gating: Gating
) -> None:
    """Factors for `parameters` and products for `deltas` agree within the rounding of float16, scale included."""
    config = generator_config(mix=mix, groups=groups, first_layer=first_layer, gating=gating)
    generator = random_generator(config, random_model("llama"), random_model("llama"))
    store_generator(tmp_path, generator, REFERENCE, REFERENCE)
    bank = Bank.open(tmp_path / "bank.safetensors")
    torch.manual_seed(0)
    gates = gate(config, torch.randn(TASKS, generator.shape.layers - first_layer, groups, config.experts))
    with torch.no_grad():
        mixture = generator.bank(gates)
    for task in range(TASKS):
        lora = assemble(bank, gates[task].numpy())
        assert lora.factors.keys() == mixture.keys()
        for key, (a, b) in lora.factors.items():
            trained_a, trained_b = (factor[task].detach().numpy() for factor in mixture[key])
            if mix == "parameters":
                np.testing.assert_allclose(a, trained_a, rtol=1e-3, atol=1e-6)
                np.testing.assert_allclose(b, trained_b, rtol=1e-3, atol=1e-6)
            product = b.astype(np.float64) @ a.astype(np.float64)
            trained = trained_b.astype(np.float64) @ trained_a.astype(np.float64)
            np.testing.assert_allclose(product, trained, rtol=0, atol=2e-3 * np.abs(trained).max())


def test_every_mix_can_be_trained() -> None:
    assert MIXTURES.keys() == MIXES.keys()


def test_experts_start_apart_and_without_effect() -> None:
    """A differs between experts, B is zero (paper, section 3.3)."""
    bank = ExpertBank(generator_config(), EdgeShape(2, 32, 48))
    assert all((b == 0).all() for b in bank.b.values())
    for a in bank.a.values():
        assert (a[:, 0] != a[:, 1]).any(dim=(-1, -2)).all()


@pytest.mark.parametrize("first_layer", [0, 1])
def test_stored_experts_load_again(tmp_path: Path, first_layer: int) -> None:
    config, edge = generator_config(first_layer=first_layer), random_model("llama")
    generator = random_generator(config, edge, edge)
    store_generator(tmp_path, generator, REFERENCE, REFERENCE)
    other = random_generator(read_manifest(tmp_path).config, edge, edge, seed=1)
    load_experts(tmp_path, other)
    for name, parameter in generator.bank.named_parameters():
        assert torch.equal(other.bank.get_parameter(name), parameter)
