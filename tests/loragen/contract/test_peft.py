"""PEFT loads an exported directory, and the model is then the one with the delta added to its weights."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import LlamaConfig, LlamaForCausalLM

from loragen.contract.answer import TEXT_ANSWER, AnswerContract
from loragen.contract.bundle import Bundle, encode_bundle
from loragen.contract.lora import Block, EdgeShape
from loragen.contract.names import module_name
from loragen.contract.peft import export_peft
from loragen.contract.peft_adapter import read_adapter

SHAPE = EdgeShape(layers=12, hidden=32, intermediate=48)
RANKS: dict[str, dict[Block, int]] = {
    "all alike": dict.fromkeys(SHAPE.blocks(), 4),
    "all different": {block: number + 1 for number, block in enumerate(SHAPE.blocks())},
    "some": {(1, "up"): 3, (2, "gate"): 2, (2, "down"): 3},
    "one": {(10, "down"): 5},
    "attention": {(0, "q"): 3, (3, "k"): 2, (3, "v"): 2, (7, "o"): 4, (7, "up"): 2},
}
TOKENS = torch.arange(24).reshape(2, 12) % 61


def tiny_llama() -> LlamaForCausalLM:
    """The same random float32 model on every call."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=SHAPE.hidden,
        intermediate_size=SHAPE.intermediate,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config).eval()


@torch.no_grad()
def patched_logits(bundle: Bundle) -> torch.Tensor:
    """W + B @ A, written into the weights by hand."""
    model = tiny_llama()
    for (layer, projection), (a, b) in bundle.lora.factors.items():
        linear = model.get_submodule(module_name(layer, projection))
        delta = torch.from_numpy(b.astype("float32")) @ torch.from_numpy(a.astype("float32"))
        linear.weight += delta
    return model(TOKENS).logits


# PEFT asks transformers for an attribute by its old name.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("ranks", RANKS.values(), ids=RANKS)
@torch.no_grad()
def test_peft_gives_the_logits_of_the_patched_model(
    make_bundle: Callable[..., Bundle], tmp_path: Path, ranks: dict[Block, int]
) -> None:
    """And PEFT adapts the modules that have factors, no others."""
    bundle = make_bundle(SHAPE, ranks=ranks, scale=0.4)
    export_peft(bundle, tmp_path / "adapter", "test/edge")

    model = PeftModel.from_pretrained(tiny_llama(), tmp_path / "adapter")

    adapted = {
        name.removeprefix("base_model.model."): module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }
    found = {name: module.r["default"] for name, module in adapted.items()}
    assert found == {module_name(*block): rank for block, rank in ranks.items()}
    assert {module.scaling["default"] for module in adapted.values()} == {1.0}

    logits, base = model(TOKENS).logits, tiny_llama()(TOKENS).logits
    torch.testing.assert_close(logits, patched_logits(bundle), rtol=1e-4, atol=1e-4)
    assert (logits - base).abs().max() > 0.1  # the adapter does something


def test_exported_weights_are_the_bundle_itself(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    """So that the id of the bundle is the sha256 of PEFT's file too."""
    bundle = make_bundle(SHAPE)
    export_peft(bundle, tmp_path, "test/edge")
    assert (tmp_path / "adapter_model.safetensors").read_bytes() == encode_bundle(bundle)
    config = json.loads((tmp_path / "adapter_config.json").read_bytes())
    assert (config["base_model_name_or_path"], config["r"], config["lora_alpha"]) == ("test/edge", 2, 2)
    assert (config["rank_pattern"], config["alpha_pattern"]) == ({}, {})


def test_answer_contract_lies_beside_the_adapter_where_it_says_anything(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    answer = AnswerContract("choice", ("ja", "nö"))
    export_peft(make_bundle(SHAPE, answer=answer), tmp_path, "test/edge")
    assert read_adapter(tmp_path).answer == answer
    export_peft(make_bundle(SHAPE), tmp_path, "test/edge")
    assert read_adapter(tmp_path).answer == TEXT_ANSWER
