"""The un-merged LoRA answers as merged weights do, in every supported family; other layouts are refused."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from cloud_service.generator import UnsupportedModelError
from cloud_service.generator.edge import UnmergedLora, edge_linears, edge_shape, lora_factors
from loragen.contract.edge_families import EDGE_FAMILIES
from loragen.contract.lora import EdgeShape, Lora
from loragen.contract.names import module_name
from tests.cloud_service.generator.tiny import VOCABULARY, merge_lora, random_model

IDS = torch.randint(0, VOCABULARY, (6, 12), generator=torch.Generator().manual_seed(0))
TASKS = 3  # of two rows each


def random_lora(shape: EdgeShape, seed: int, rank: int = 2) -> Lora:
    rng = np.random.default_rng(seed)
    factors = {}
    for layer, projection in shape.blocks():
        size_in, size_out = shape.in_out(projection)
        a, b = rng.standard_normal((rank, size_in)) * 0.3, rng.standard_normal((size_out, rank)) * 0.3
        factors[layer, projection] = (a.astype(np.float16), b.astype(np.float16))
    return Lora(shape, factors)


def logits(model: Any, ids: Tensor) -> Tensor:
    with torch.inference_mode():
        answer: Tensor = model(input_ids=ids, use_cache=False).logits
    return answer


def stacked(loras: list[Lora]) -> dict[tuple[int, str], tuple[Tensor, Tensor]]:
    """The factors of several tasks, one after the other."""
    tasks = [lora_factors(lora) for lora in loras]
    return {key: (torch.cat([t[key][0] for t in tasks]), torch.cat([t[key][1] for t in tasks])) for key in tasks[0]}


@pytest.mark.parametrize("family", EDGE_FAMILIES)
def test_unmerged_lora_gives_the_logits_of_merged_weights(family: str) -> None:
    """Three tasks in one batch, each against a copy of the model with that task's LoRA merged."""
    model = random_model(family)
    loras = [random_lora(edge_shape(model.config), seed) for seed in range(TASKS)]
    merged = []
    for lora in loras:
        patched = copy.deepcopy(model)
        merge_lora(patched, lora)
        merged.append(patched)
    expected = torch.cat([logits(m, rows) for m, rows in zip(merged, IDS.chunk(TASKS), strict=True)])
    base = logits(model, IDS)

    unmerged = UnmergedLora(model)
    with unmerged.applied(stacked(loras)):
        actual = logits(model, IDS)

    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    for task in range(TASKS):
        assert (actual - base).abs()[2 * task : 2 * task + 2].mean() > 0.05, "the LoRA does nothing"
    assert (logits(model, IDS) == base).all(), "the LoRA stays behind"


def test_unmerged_lora_is_taken_off_when_the_block_fails() -> None:
    model = random_model("llama")
    base = logits(model, IDS)
    unmerged = UnmergedLora(model)
    with pytest.raises(RuntimeError), unmerged.applied(stacked([random_lora(edge_shape(model.config), 0)] * 5)):
        logits(model, IDS)  # six rows are not of five tasks
    assert (logits(model, IDS) == base).all()


def test_dropout_acts_on_the_lora_and_on_nothing_else() -> None:
    """With everything dropped the model is its base; with a part dropped, two draws differ."""
    model = random_model("llama")
    factors = lora_factors(random_lora(edge_shape(model.config), 0))
    base = logits(model, IDS)
    unmerged = UnmergedLora(model)
    answers = []
    for dropout in (1.0, 0.5, 0.5, 0.0):
        with unmerged.applied(factors, dropout):
            answers.append(logits(model, IDS))
    assert torch.equal(answers[0], base)
    assert not torch.equal(answers[1], answers[2])
    with unmerged.applied(factors):
        assert torch.equal(logits(model, IDS), answers[3])


def test_read_only_factors_are_taken_without_a_warning() -> None:
    """Factors of a parsed bundle are views of its bytes."""
    lora = random_lora(edge_shape(random_model("llama").config), 0)
    for pair in lora.factors.values():
        for factor in pair:
            factor.setflags(write=False)
    lora_factors(lora)


@pytest.mark.parametrize("family", EDGE_FAMILIES)
def test_shape_comes_from_the_configuration(family: str) -> None:
    assert edge_shape(random_model(family).config) == EdgeShape(layers=2, hidden=32, intermediate=48)


def test_shape_of_a_multimodal_gemma3_is_that_of_its_text_part() -> None:
    text = random_model("gemma3_text").config
    assert edge_shape(transformers.Gemma3Config(text_config=text.to_dict())) == EdgeShape(2, 32, 48)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])
def test_other_families_are_refused_by_name(family: str) -> None:
    with pytest.raises(UnsupportedModelError, match=f"'{family}', expected one of {', '.join(EDGE_FAMILIES)}"):
        edge_shape(random_model(family).config)


def test_layer_of_another_layout_is_refused() -> None:
    """A model type may be supported and one of its layers patched all the same."""
    model = random_model("llama")
    model.model.layers[1].mlp.up_proj = torch.nn.Linear(32, 40)
    with pytest.raises(UnsupportedModelError, match="layer 1 of llama has no usable up projection"):
        UnmergedLora(model)


@pytest.mark.parametrize("family", EDGE_FAMILIES)
def test_linears_are_those_of_the_model(family: str) -> None:
    """Attention too, whose heads need not have the hidden width together."""
    model = random_model(family)
    linears = edge_linears(model.config)
    assert set(linears) == set(edge_shape(model.config).linears())
    for block, widths in linears.items():
        module = model.get_submodule(module_name(*block))
        assert (module.in_features, module.out_features) == widths
