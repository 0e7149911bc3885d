"""A user's own adapter, as real PEFT saves it, becomes a bundle of the same delta, or is refused by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load, load_file, save
from transformers import LlamaConfig, LlamaForCausalLM

from loragen.contract.answer import TEXT_ANSWER, AnswerContract, Function
from loragen.contract.bundle import Bundle, encode_bundle, parse_bundle
from loragen.contract.errors import (
    ContractError,
    FormatError,
    LimitError,
    MismatchError,
    NonFiniteError,
    UnsupportedError,
)
from loragen.contract.lora import EdgeShape
from loragen.contract.names import LINEARS, module_name
from loragen.contract.peft import export_peft
from loragen.contract.peft_adapter import (
    PeftAdapter,
    imported_bundle,
    read_adapter,
    read_answer_file,
    verify_plain,
)
from tests.loragen.contract.conftest import attention_widths

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

SHAPE = EdgeShape(layers=2, hidden=32, intermediate=48)
WIDTHS = attention_widths(SHAPE)
MODEL_LINEARS = {(layer, name): WIDTHS.get(name) or SHAPE.in_out(name) for layer, name in SHAPE.linears()}
DIGEST = "d" * 64

CONFIGS: dict[str, dict[str, Any]] = {
    "everything": {"target_modules": [f"{name}_proj" for name in LINEARS], "r": 4, "lora_alpha": 8},
    "patterns": {
        "target_modules": ["q_proj", "v_proj", "down_proj"],
        "r": 4,
        "lora_alpha": 8,
        "rank_pattern": {"v_proj": 2, "layers.1.mlp.down_proj": 7},
        "alpha_pattern": {"model.layers.0.self_attn.q_proj": 3, "down_proj": 1},
    },
    "escaped patterns": {
        "target_modules": ["q_proj", "v_proj", "down_proj"],
        "r": 4,
        "lora_alpha": 8,
        "rank_pattern": {r"layers\.1\.mlp\.down_proj": 7, "^model.layers.0.self_attn.v_proj$": 3},
        "alpha_pattern": {r".*\.q_proj": 3, r"^.*\.down_proj": 1},
    },
    "rank-stabilized": {"target_modules": ["o_proj", "up_proj"], "r": 9, "lora_alpha": 6, "use_rslora": True},
    "one layer": {"target_modules": ["k_proj"], "layers_to_transform": [1], "r": 2, "lora_alpha": 2},
}


def tiny_llama(**changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": SHAPE.hidden, "intermediate_size": SHAPE.intermediate, "num_hidden_layers": SHAPE.layers}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=64, initializer_range=0.2, **(sizes | heads | changes))).eval()


def trained(model: Any, options: dict[str, Any]) -> PeftModel:
    """A PEFT model whose factors are not what they started as; B is small, as after a short training."""
    peft = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options))
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.003)
    return peft.eval()


def saved(directory: Path, options: dict[str, Any], **changes: Any) -> Path:
    trained(tiny_llama(**changes), options).save_pretrained(directory)
    return directory


def import_adapter(adapter: PeftAdapter) -> Bundle:
    return imported_bundle(adapter, SHAPE, MODEL_LINEARS, "test/edge", DIGEST)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> PeftAdapter:
    return read_adapter(saved(tmp_path_factory.mktemp("adapter"), CONFIGS["everything"]))


@pytest.mark.parametrize("options", CONFIGS.values(), ids=CONFIGS)
@torch.no_grad()
def test_delta_is_that_of_peft(tmp_path: Path, options: dict[str, Any]) -> None:
    """Module by module, against what PEFT's `merge_and_unload` adds; a module that PEFT leaves alone has no factors."""
    base = tiny_llama()
    bundle = import_adapter(read_adapter(saved(tmp_path, options)))
    merged = PeftModel.from_pretrained(tiny_llama(), tmp_path).merge_and_unload()
    for block in SHAPE.linears():
        name = module_name(*block)
        delta = merged.get_submodule(name).weight - base.get_submodule(name).weight
        if block not in bundle.lora.factors:
            assert delta.abs().max() == 0
            continue
        a, b = (torch.from_numpy(factor.astype("float32")) for factor in bundle.lora.factors[block])
        # Twice 2**-11 for the two factors, and what float32 loses in the difference above.
        assert (b @ a - delta).norm() < 0.001 * delta.norm()


def test_bundle_says_that_it_was_imported_and_round_trips(adapter: PeftAdapter) -> None:
    answer = AnswerContract("choice", ("ja", "nö"))
    bundle = import_adapter(replace(adapter, answer=answer))
    header = bundle.header
    assert header.is_imported
    assert (header.edge_model_id, header.edge_model_digest, header.answer) == ("test/edge", DIGEST, answer)
    data = encode_bundle(bundle)
    assert encode_bundle(parse_bundle(data)) == data == encode_bundle(import_adapter(replace(adapter, answer=answer)))


def test_exported_bundle_comes_back_as_itself(adapter: PeftAdapter, tmp_path: Path) -> None:
    bundle = import_adapter(adapter)
    export_peft(bundle, tmp_path, "test/edge")
    assert encode_bundle(import_adapter(read_adapter(tmp_path))) == encode_bundle(bundle)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_element_types_are_read_without_loss(adapter: PeftAdapter, tmp_path: Path, dtype: torch.dtype) -> None:
    saved(tmp_path, CONFIGS["everything"])
    rounded = {name: tensor.to(dtype) for name, tensor in load_file(tmp_path / "adapter_model.safetensors").items()}
    widened = {name: tensor.float() for name, tensor in rounded.items()}
    found, expected = (import_adapter(replace(adapter, weights=save(tensors))) for tensors in (rounded, widened))
    for block, pair in expected.lora.factors.items():
        for one, other in zip(found.lora.factors[block], pair, strict=True):
            np.testing.assert_array_equal(one, other)


def test_small_factors_keep_their_digits(adapter: PeftAdapter) -> None:
    """B of a short training is below what float16 holds well; A lends it its exponent."""
    tensors = tensors_of(adapter)
    tiny = {name: tensor * (1e-4 if "lora_B" in name else 1.0) for name, tensor in tensors.items()}
    bundle = import_adapter(replace(adapter, weights=save(tiny)))
    a, b = (factor.astype(np.float64) for factor in bundle.lora.factors[0, "q"])
    prefix = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    delta = 2 * (tiny[f"{prefix}B.weight"].double() @ tiny[f"{prefix}A.weight"].double()).numpy()
    assert np.linalg.norm(b @ a - delta) < 0.001 * np.linalg.norm(delta)


def test_module_that_changes_nothing_is_left_out(adapter: PeftAdapter) -> None:
    tensors = {
        name: torch.zeros_like(tensor) if "layers.1." in name and "lora_B" in name else tensor
        for name, tensor in tensors_of(adapter).items()
    }
    assert {layer for layer, _ in import_adapter(replace(adapter, weights=save(tensors))).lora.factors} == {0}


def tensors_of(adapter: PeftAdapter) -> dict[str, torch.Tensor]:
    return load(adapter.weights)


def edited(adapter: PeftAdapter, edit: Callable[[dict[str, torch.Tensor]], Any]) -> PeftAdapter:
    tensors = tensors_of(adapter)
    edit(tensors)
    return replace(adapter, weights=save(tensors))


Q_A, Q_B = (f"base_model.model.model.layers.0.self_attn.q_proj.lora_{side}.weight" for side in "AB")
PREFIX = "base_model.model."
WEIGHTS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], type[ContractError], str]] = {
    "A alone": (lambda t: t.pop(Q_B), FormatError, "lora_A alone"),
    "B alone": (lambda t: t.pop(Q_A), FormatError, "lora_B alone"),
    "no tensors": (lambda t: t.clear(), FormatError, "found none"),
    "not a number": (lambda t: t[Q_A].view(-1)[3].fill_(float("nan")), NonFiniteError, "q_proj.lora_A"),
    "infinity": (lambda t: t[Q_B].view(-1)[3].fill_(float("inf")), NonFiniteError, "q_proj.lora_B"),
    "beyond float16": (lambda t: (t[Q_A].fill_(1e20), t[Q_B].fill_(1e10)), NonFiniteError, "too large"),
    "a rank of its own": (lambda t: t.update({Q_A: torch.ones(3, 32), Q_B: torch.ones(32, 3)}), FormatError, "rank 4"),
    "ranks that differ": (lambda t: t.update({Q_B: torch.ones(32, 5)}), FormatError, "B of rank 5"),
    "another width": (lambda t: t.update({Q_A: torch.ones(4, 40)}), MismatchError, "layer 0 q"),
    "a transposed B": (lambda t: t.update({Q_B: torch.ones(4, 32)}), MismatchError, "layer 0 q"),
    "a layer too many": (
        lambda t: t.update({name.replace("layers.0", "layers.2"): t[name].clone() for name in (Q_A, Q_B)}),
        MismatchError,
        "layer 2 q",
    ),
    "DoRA": (
        lambda t: t.update({Q_A.replace("lora_A.weight", "lora_magnitude_vector"): torch.ones(32)}),
        UnsupportedError,
        "DoRA",
    ),
    "a bias": (
        lambda t: t.update({PREFIX + "model.layers.0.mlp.up_proj.bias": torch.ones(2)}),
        UnsupportedError,
        "bias",
    ),
    "a bias of B": (lambda t: t.update({Q_B.replace("weight", "bias"): torch.ones(32)}), UnsupportedError, "bias"),
    "an embedding": (
        lambda t: t.update({PREFIX + "model.embed_tokens.lora_embedding_A": torch.ones(2, 2)}),
        UnsupportedError,
        "embedding",
    ),
    "the output matrix": (
        lambda t: t.update({PREFIX + "lm_head.lora_A.weight": torch.ones(2, 2)}),
        UnsupportedError,
        "output matrix",
    ),
    "another module": (
        lambda t: t.update({PREFIX + "model.layers.0.mlp.router.lora_A.weight": torch.ones(2, 2)}),
        UnsupportedError,
        "router",
    ),
    "quantized factors": (lambda t: t.update({Q_A: torch.ones(4, 32, dtype=torch.int8)}), UnsupportedError, "I8"),
    "zeros": (lambda t: [tensor.zero_() for tensor in t.values()], FormatError, "zero"),
    "one name in two spellings": (
        lambda t: t.update({Q_A.replace("lora_A", "lora_A.default"): t[Q_A].clone()}),
        FormatError,
        "twice",
    ),
}


@pytest.mark.parametrize(("edit", "error", "message"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_no_bundle_can_hold_are_refused_by_name(
    adapter: PeftAdapter, edit: Callable[[dict[str, torch.Tensor]], Any], error: type[ContractError], message: str
) -> None:
    with pytest.raises(error, match=message) as refused:
        import_adapter(edited(adapter, edit))
    assert refused.value.hint or error is NonFiniteError
    if error is UnsupportedError and message != "I8":
        with pytest.raises(error, match=message):
            verify_plain(edited(adapter, edit))


@pytest.mark.parametrize("weights", [b"", b"\x80\x02}q\x00.", b"\xff" * 100, b"\x08" + bytes(7) + b'{"a":1} '])
def test_bytes_that_are_no_safetensors_file_are_refused(adapter: PeftAdapter, weights: bytes) -> None:
    with pytest.raises(FormatError, match="safetensors"):
        import_adapter(replace(adapter, weights=weights))


def test_adapter_of_a_larger_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="layer 0") as refused:
        import_adapter(read_adapter(saved(tmp_path, CONFIGS["everything"], hidden_size=64)))
    assert refused.value.hint


def test_folder_is_read_by_itself_or_by_its_weights(tmp_path: Path) -> None:
    saved(tmp_path, CONFIGS["one layer"])
    (tmp_path / "answer.json").write_text('{ "type": "choice",\n "choices": ["yes", "no"] }')
    adapter = read_adapter(tmp_path)
    assert adapter == read_adapter(tmp_path / "adapter_model.safetensors")
    assert adapter.answer == AnswerContract("choice", ("yes", "no"))
    (tmp_path / "answer.json").unlink()
    assert read_adapter(tmp_path).answer == TEXT_ANSWER


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_folder_without_a_file_is_refused(tmp_path: Path, missing: str) -> None:
    saved(tmp_path, CONFIGS["one layer"])
    (tmp_path / missing).unlink()
    with pytest.raises(FormatError, match=missing):
        read_adapter(tmp_path)


def test_files_over_their_limits_are_not_read_whole(tmp_path: Path, small_limits: None) -> None:
    saved(tmp_path, CONFIGS["one layer"])
    with pytest.raises(LimitError, match=r"adapter_config\.json"):
        read_adapter(tmp_path)


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loragen.contract.peft_adapter.MAX_ADAPTER_CONFIG_BYTES", 10)


@pytest.mark.parametrize(
    "answer", ["", "[]", '{"type":"choice"}', '{"type":"poem"}', "NaN", "[" * 10_000, '{"type":"text","a":1}']
)
def test_answer_file_that_is_no_contract_is_refused(tmp_path: Path, answer: str) -> None:
    saved(tmp_path, CONFIGS["one layer"])
    (tmp_path / "answer.json").write_text(answer)
    with pytest.raises(FormatError, match="answer"):
        read_adapter(tmp_path)


def test_answer_file_may_be_what_the_interface_shows(tmp_path: Path) -> None:
    """With its name of a schema, with what is empty, and with tools as OpenAI wraps them."""
    shown = {
        "type": "json",
        "json_schema": {"type": "null"},
        "choices": [],
        "codes": [],
        "none": None,
        "parallel": False,
    }
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(shown))
    assert read_answer_file(path) == AnswerContract("json", schema='{"type":"null"}')
    tool = {"type": "function", "function": {"name": "find", "description": "Finds.", "parameters": None}}
    path.write_text(json.dumps({"type": "tool_calls", "functions": [tool]}))
    assert read_answer_file(path) == AnswerContract("tool_calls", functions=(Function("find"),))


def test_configuration_of_another_adapter_is_refused(adapter: PeftAdapter) -> None:
    config = json.loads(adapter.config) | {"r": 8}
    with pytest.raises(FormatError, match=r"rank 8 of adapter_config\.json, found A of rank 4"):
        import_adapter(replace(adapter, config=json.dumps(config).encode()))
