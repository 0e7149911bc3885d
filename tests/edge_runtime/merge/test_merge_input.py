"""A user's own PEFT adapter is merged as PEFT merges it."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model

from cloud_service.generator.pretrained import load_language_model
from edge_runtime.errors import BaseGgufError, OutputError
from edge_runtime.gguf.base_gguf import BaseGguf
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge import merge, quantize_base
from edge_runtime.merge.merge_input import load_merge_input
from loragen.contract.bundle import Bundle, content_id, encode_bundle
from loragen.contract.digest import model_digest
from loragen.contract.errors import FormatError, MismatchError
from loragen.contract.gguf_adapter import GgufModel, write_gguf_adapter
from loragen.default_pair import DEFAULT_PAIR
from loragen.packages import find_packaged_model
from tests.edge_runtime.tiny_models import TEXT, hf_logits

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

OPTIONS: dict[str, dict[str, Any]] = {
    "attention": {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"], "r": 4, "lora_alpha": 16},
    "everything": {
        "target_modules": "all-linear",
        "r": 4,
        "lora_alpha": 16,
        "rank_pattern": {"k_proj": 2},
        "use_rslora": True,
    },
}


def save_adapter(model_directory: Path, directory: Path, **options: Any) -> Path:
    """What a user has: an adapter that PEFT saved, strong enough to show."""
    model = transformers.AutoModelForCausalLM.from_pretrained(model_directory)
    torch.manual_seed(1)
    peft = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options))
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    peft.save_pretrained(directory)
    return directory


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(("quantization", "tolerance"), [(Quantization.F16, 0.01), (Quantization.Q8_0, 0.1)])
def test_merged_file_gives_the_logits_of_peft(
    llama_directory, base_gguf, tmp_path, open_gguf, options, quantization, tolerance
):
    """`merge_and_unload` in transformers against our file in llama.cpp; the error is set against what the LoRA does."""
    adapter = save_adapter(llama_directory, tmp_path / "adapter", **options)
    bundle = load_merge_input(adapter, base_gguf, None)
    merge(base_gguf, bundle, tmp_path / "out.gguf", quantization, tmp_path / "cache")
    base = transformers.AutoModelForCausalLM.from_pretrained(llama_directory)
    gguf = open_gguf(tmp_path / "out.gguf")
    ids = gguf.ids(TEXT)
    plain = hf_logits(base, ids)
    expected = hf_logits(PeftModel.from_pretrained(base, adapter).merge_and_unload(), ids)
    assert np.abs(gguf.logits(ids) - expected).mean() < tolerance * np.abs(plain - expected).mean()


@pytest.mark.slow
def test_merged_default_edge_model_gives_the_logits_of_peft(tmp_path, open_gguf):
    """The same on SmolLM2 itself, whose base GGUF is Q4_1: torch has its weights exactly, llama.cpp rounds inputs."""
    path = find_packaged_model(DEFAULT_PAIR.edge_model)
    torch.manual_seed(1)
    options = {**OPTIONS["everything"], "alpha_pattern": {"down_proj": 8}}
    peft = get_peft_model(load_language_model(path, torch.float32), LoraConfig(task_type="CAUSAL_LM", **options))
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PEFT looks for the base model's files, to see its vocabulary
        peft.save_pretrained(tmp_path / "adapter")
    bundle = load_merge_input(tmp_path / "adapter", path, None)
    ids = None
    for quantization, tolerance in ((Quantization.F16, 0.07), (Quantization.Q8_0, 0.25)):
        merge(path, bundle, tmp_path / "out.gguf", quantization)
        gguf = open_gguf(tmp_path / "out.gguf")
        if ids is None:
            ids = gguf.ids(TEXT)
            with peft.disable_adapter():
                plain = hf_logits(peft, ids)
            expected = hf_logits(peft.merge_and_unload(), ids)
        assert np.abs(gguf.logits(ids) - expected).mean() < tolerance * np.abs(plain - expected).mean()


def test_bundle_of_an_adapter_is_for_the_base_gguf_at_hand(llama_directory, base_gguf, tmp_path):
    adapter = save_adapter(llama_directory, tmp_path / "adapter", **OPTIONS["attention"])
    bundle = load_merge_input(adapter, base_gguf, None)
    assert bundle.header.is_imported
    assert bundle.header.edge_model_id == "tiny-edge"
    assert bundle.header.edge_model_digest == model_digest(llama_directory)
    assert content_id(
        encode_bundle(load_merge_input(adapter / "adapter_model.safetensors", base_gguf, None))
    ) == content_id(encode_bundle(bundle))


def test_cache_serves_bundles_with_and_without_attention(llama_directory, base_gguf, bundle, tmp_path):
    """The same file of finished tensors, whichever bundle is merged first; the results do not depend on it."""
    adapter = load_merge_input(save_adapter(llama_directory, tmp_path / "a", **OPTIONS["attention"]), base_gguf, None)
    for number, each in enumerate((adapter, bundle, adapter)):
        merge(base_gguf, each, tmp_path / f"{number}.gguf", Quantization.Q8_0, tmp_path / "cache")
        merge(base_gguf, each, tmp_path / f"{number}-alone.gguf", Quantization.Q8_0)
        assert (tmp_path / f"{number}.gguf").read_bytes() == (tmp_path / f"{number}-alone.gguf").read_bytes()
    assert len(list((tmp_path / "cache").glob("*.gguf"))) == 1


def test_attached_adapter_gives_the_logits_of_peft(llama_directory, base_gguf, tmp_path):
    """llama.cpp with the GGUF adapter at run time."""
    import llama_cpp

    adapter = save_adapter(llama_directory, tmp_path / "adapter", **OPTIONS["everything"])
    with BaseGguf(base_gguf) as opened:
        model = GgufModel.of(opened.header)
    write_gguf_adapter(load_merge_input(adapter, base_gguf, None), tmp_path / "adapter.gguf", model)
    llama = llama_cpp.Llama(
        str(base_gguf), n_ctx=256, n_batch=256, n_threads=1, logits_all=True, verbose=False,
        lora_path=str(tmp_path / "adapter.gguf"),
    )  # fmt: skip
    try:
        ids = llama.tokenize(TEXT.encode(), add_bos=False)
        llama.eval(ids)
        found = np.array(llama.scores[: len(ids)], np.float32)
    finally:
        llama.close()
    base = transformers.AutoModelForCausalLM.from_pretrained(llama_directory)
    plain = hf_logits(base, ids)
    expected = hf_logits(PeftModel.from_pretrained(base, adapter).merge_and_unload(), ids)
    assert np.abs(found - expected).mean() < 0.02 * np.abs(plain - expected).mean()


def test_adapter_for_another_shape_is_refused(base_gguf, tmp_path):
    wide = transformers.LlamaConfig(
        vocab_size=600, hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4
    )
    transformers.LlamaForCausalLM(wide).save_pretrained(tmp_path / "wide")
    adapter = save_adapter(tmp_path / "wide", tmp_path / "adapter", **OPTIONS["attention"])
    with pytest.raises(MismatchError, match="layer 0"):
        load_merge_input(adapter, base_gguf, None)


def test_bundle_for_other_heads_is_refused_whole(bundle: Bundle, base_gguf, tmp_path):
    """The digest says that it fits; the shapes say that it lies."""
    factors = {(0, "q"): (np.ones((1, 256), np.float16), np.ones((64, 1), np.float16))}
    lying = Bundle(bundle.header, type(bundle.lora)(bundle.lora.shape, factors))
    with pytest.raises(BaseGgufError, match="layer 0 q"):
        merge(base_gguf, lying, tmp_path / "out.gguf", Quantization.Q8_0)
    assert not (tmp_path / "out.gguf").exists()


def test_gguf_in_place_of_a_bundle_is_named(bundle, base_gguf, tmp_path):
    adapter = tmp_path / "adapter.gguf"
    write_gguf_adapter(bundle, adapter, GgufModel("llama"))
    for path in (adapter, base_gguf):
        with pytest.raises(FormatError, match="is a GGUF file, no bundle") as refused:
            load_merge_input(path, base_gguf, None)
        assert "PEFT folder" in refused.value.hint


def test_merged_file_is_no_base(bundle, base_gguf, tmp_path):
    """Another bundle would be added to the first, without a word."""
    merge(base_gguf, bundle, tmp_path / "once.gguf", Quantization.F16)
    with pytest.raises(BaseGgufError, match="merged into it already") as refused:
        merge(tmp_path / "once.gguf", bundle, tmp_path / "twice.gguf", Quantization.F16)
    assert refused.value.hint
    with pytest.raises(BaseGgufError, match="merged into it already"):
        quantize_base(tmp_path / "once.gguf", tmp_path / "twice.gguf", Quantization.Q8_0)
    assert not (tmp_path / "twice.gguf").exists()


def test_output_may_not_be_the_base(bundle, base_gguf, tmp_path):
    before = base_gguf.read_bytes()
    link = tmp_path / "link.gguf"
    link.symlink_to(base_gguf)
    for out in (base_gguf, link):
        with pytest.raises(OutputError, match="would be lost"):
            merge(base_gguf, bundle, out, Quantization.Q8_0)
        with pytest.raises(OutputError, match="would be lost"):
            quantize_base(base_gguf, out, Quantization.Q8_0)
    assert base_gguf.read_bytes() == before


def test_bundle_under_its_id_is_compared_with_it(bundle: Bundle, base_gguf, tmp_path):
    """One flipped bit of a weight is a bundle, too: only the id tells."""
    data = encode_bundle(bundle)
    flipped = data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]
    for content, name in ((data, content_id(data)), (flipped, "mine")):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        assert encode_bundle(load_merge_input(path, base_gguf, None)) == content
    path = tmp_path / f"{content_id(data)}.safetensors"
    path.write_bytes(flipped)
    with pytest.raises(MismatchError, match="not the bundle that it is named after") as refused:
        load_merge_input(path, base_gguf, None)
    assert refused.value.hint


def test_peft_weights_without_their_folder_are_distinguished_from_a_bundle(llama_directory, base_gguf, tmp_path):
    adapter = save_adapter(llama_directory, tmp_path / "adapter", **OPTIONS["attention"])
    alone = tmp_path / "mine.safetensors"
    alone.write_bytes((adapter / "adapter_model.safetensors").read_bytes())
    with pytest.raises(FormatError, match="no bundle") as refused:
        load_merge_input(alone, base_gguf, None)
    assert "adapter_config.json" in refused.value.hint
