"""Tiny random models of the supported families, a tokenizer, and generators whose experts are not zero."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from cloud_service.generator import GeneratorConfig, LoraGenerator
from cloud_service.generator.checkpoint import ModelReference, store_generator
from cloud_service.generator.edge import edge_projections, edge_shape
from contract.digest import model_digest
from contract.lora import Lora

VOCABULARY = 320
EDGE_FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3_text")

_SIZE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
_NEOX_SIZE = {key: value for key, value in _SIZE.items() if key not in ("num_key_value_heads", "head_dim")}
_MAKERS: dict[str, Any] = {
    "llama": (transformers.LlamaConfig, _SIZE),
    "qwen2": (transformers.Qwen2Config, {key: value for key, value in _SIZE.items() if key != "head_dim"}),
    "qwen3": (transformers.Qwen3Config, _SIZE),
    "gemma2": (transformers.Gemma2Config, _SIZE | {"sliding_window": 8, "query_pre_attn_scalar": 8}),
    "gemma3_text": (transformers.Gemma3TextConfig, _SIZE | {"sliding_window": 8, "query_pre_attn_scalar": 8}),
    "gpt2": (
        transformers.GPT2Config,
        {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
        | {"bos_token_id": 0, "eos_token_id": 1},
    ),
    "gpt_neox": (transformers.GPTNeoXConfig, _NEOX_SIZE),
    "opt": (
        transformers.OPTConfig,
        {"vocab_size": VOCABULARY, "hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 48}
        | {"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 256}
        | {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2},
    ),
}


def random_model(family: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A frozen float32 causal LM with weights large enough that every part of it shows in the logits."""
    make, values = _MAKERS[family]
    torch.manual_seed(seed)
    model: PreTrainedModel = transformers.AutoModelForCausalLM.from_config(make(**values | changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.requires_grad_(False).eval()


def tokenizer(merges_of: str = "", **special: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer; the words of `merges_of` become tokens of their own."""
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bare.train_from_iterator([merges_of] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="</s>", pad_token="<pad>", **special)


def generator_config(**changes: Any) -> GeneratorConfig:
    """Small settings; every one of them can be changed."""
    values: dict[str, Any] = {
        "id": "test",
        "experts": 5,
        "rank": 2,
        "alpha": 3.0,
        "router_width": 8,
        "adapter_rank": 0,
        "max_prompt_tokens": 200,
    }
    return GeneratorConfig(**values | changes)


def random_generator(
    config: GeneratorConfig, cloud: PreTrainedModel, edge: PreTrainedModel, seed: int = 0
) -> LoraGenerator:
    """A generator as after training: nothing in it is zero, and experts are float16 numbers."""
    torch.manual_seed(seed)
    generator = LoraGenerator(config, cloud, edge_shape(edge.config))
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            parameter += 0.3 * torch.randn_like(parameter)
            if name.startswith("bank."):
                parameter.copy_(parameter.half())
        for name, buffer in generator.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer += torch.rand_like(buffer)
    return generator.eval()


def merge_lora(model: PreTrainedModel, lora: Lora) -> None:
    """Adds a LoRA to the model's weights for good: W' = W + alpha/rank * B A (paper, section 3.3)."""
    with torch.no_grad():
        for key, linear in edge_projections(model).items():
            a, b = (torch.tensor(factor).float() for factor in lora.factors[key])
            linear.weight += lora.scale * (b @ a)


@dataclass(frozen=True)
class Pair:
    """Folders of a stored pair, and the generator as it was in memory."""

    cloud: Path
    edge: Path
    generator: Path
    original: LoraGenerator


def make_pair(root: Path, **changes: Any) -> Pair:
    """Stores a Llama cloud model, a Qwen2 edge model and a generator for them."""
    cloud, edge = random_model("llama", seed=1), random_model("qwen2", seed=2)
    references = []
    for model, words, name in (
        (cloud, tokenizer(bos_token="<s>"), "cloud"),
        (edge, tokenizer("route the message to a tool"), "edge"),
    ):
        model.save_pretrained(root / name)
        words.save_pretrained(root / name)
        references.append(ModelReference(f"test/{name}", model_digest(root / name)))
    settings = {"norm": "batch", "gating": "dense", "groups": 3, "adapter_rank": 2} | changes
    generator = random_generator(generator_config(**settings), cloud, edge)
    store_generator(root / "generator", generator, *references)
    return Pair(root / "cloud", root / "edge", root / "generator", generator)
