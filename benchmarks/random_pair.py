"""Pairs of models at the shapes of published ones, with random weights: what the benchmarks measure on.

Time and memory depend on shapes, not on what the numbers are, and so nobody has to download a model. A token is a byte
of text, so that a prompt has as many tokens as a benchmark asks for. The generator has the settings of the paper.

This module loads torch; a script that measures the memory of what runs without torch imports it where it is needed.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from cloud_service.generator import GeneratorConfig, LoraGenerator
from cloud_service.generator.checkpoint import BANK_FILE, ModelReference, store_generator
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.pretrained import load_language_model
from loragen.contract.digest import model_digest
from loragen.contract.lora import EdgeShape
from training.fit.config import TrainingConfig, load_config

VOCABULARY = 512
"""Tokens of the tokenizer where its size does not matter: all bytes and the special ones."""

_WEIGHT_STD = 0.02
_POOL = 2**24


def _llama(vocabulary: int, hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int) -> PretrainedConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=8192,
        bos_token_id=0,
        eos_token_id=1,
    )


def _qwen2_1_5b() -> PretrainedConfig:
    return Qwen2Config(
        vocab_size=151_936,
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
    )


def _gemma2_2b() -> PretrainedConfig:
    return Gemma2Config(
        vocab_size=256_000,
        hidden_size=2304,
        intermediate_size=9216,
        num_hidden_layers=26,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=256,
        query_pre_attn_scalar=256,
        sliding_window=4096,
        max_position_embeddings=8192,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


SHAPES: Mapping[str, Callable[[], PretrainedConfig]] = {
    "llama3-8b": lambda: _llama(128_256, 4096, 14_336, 32, 32, 8),
    "tinyllama-1.1b": lambda: _llama(32_000, 2048, 5632, 22, 32, 4),
    "qwen2-1.5b": _qwen2_1_5b,
    "gemma2-2b": _gemma2_2b,
    "small-cloud": lambda: _llama(VOCABULARY, 256, 896, 4, 4, 2),
    "small-edge": lambda: _llama(VOCABULARY, 64, 176, 22, 2, 1),
    "tiny": lambda: _llama(VOCABULARY, 256, 512, 2, 4, 2),
}
"""By name, the configuration of each model that is measured; the last three are for a CPU and for tests."""


def paper_config() -> TrainingConfig:
    """The shipped config with the paper's settings: eight experts of rank 16, two of them chosen, adapter on q, v."""
    return load_config("tinyllama-llama3-8b")


def make_model(config: PretrainedConfig, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """A frozen causal LM, made on the device that it will compute on: nothing of it passes through the host."""
    with torch.device(device):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model.requires_grad_(False).eval()


def make_generator(config: GeneratorConfig, cloud: PreTrainedModel, shape: EdgeShape) -> LoraGenerator:
    """A generator as after training: its experts move the edge model's weights by about 3 %."""
    generator = LoraGenerator(config, cloud, shape)
    with torch.no_grad():
        for b in generator.bank.b.values():
            b.normal_(std=_WEIGHT_STD)
    return generator


def store_random_generator(folder: Path, cloud: Path, edge: Path) -> Path:
    """Writes a generator of the paper's settings for two models on disk.

    Returns:
        Its bank.
    """
    torch.manual_seed(0)
    model = load_language_model(cloud, torch.float32)
    generator = make_generator(paper_config().generator, model, edge_shape(AutoConfig.from_pretrained(edge)))
    references = [ModelReference(f"random/{each.name}", model_digest(each)) for each in (cloud, edge)]
    store_generator(folder, generator, *references)
    return folder / BANK_FILE


def make_tokenizer(vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """A tokenizer of one token a byte; what is left of the vocabulary are words that no text can hold."""
    tokens = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens += [f"word{number}" for number in range(len(tokens), vocabulary)]
    bare = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bare, bos_token="<s>", eos_token="</s>", pad_token="</s>")


def make_text(tokens: int, number: int = 0) -> str:
    """A text of this many tokens of `make_tokenizer`, a different one for each number."""
    sentence = f"Sort the mail of customer {number} by urgency. "
    return (sentence * (tokens // len(sentence) + 1))[:tokens].rstrip().ljust(tokens, ".")


def store_model(config: PretrainedConfig, folder: Path) -> int:
    """Writes a Hugging Face folder with random bfloat16 weights and a tokenizer of the model's vocabulary.

    Returns:
        How many parameters it has.
    """
    with torch.device("meta"):
        shapes = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).state_dict()
    if config.tie_word_embeddings:
        del shapes["lm_head.weight"]
    folder.mkdir(parents=True)
    weights = _draw(shapes, norm=0.0 if config.model_type.startswith("gemma") else 1.0)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    make_tokenizer(config.vocab_size).save_pretrained(folder)
    config.save_pretrained(folder)
    return sum(weight.numel() for weight in weights.values())


def _draw(shapes: Mapping[str, Tensor], norm: float) -> dict[str, Tensor]:
    # One pool of numbers, entered at a different place by each tensor: drawing billions would take minutes.
    pool = (torch.randn(_POOL, generator=torch.Generator().manual_seed(0)) * _WEIGHT_STD).bfloat16()
    weights: dict[str, Tensor] = {}
    for number, (name, shape) in enumerate(shapes.items()):
        if shape.dim() == 1:
            weights[name] = torch.full(shape.shape, 0.0 if name.endswith("bias") else norm, dtype=torch.bfloat16)
            continue
        weights[name] = torch.empty(shape.shape, dtype=torch.bfloat16)
        flat, start = weights[name].view(-1), number * 7919 % (_POOL // 2)
        for begin in range(0, len(flat), _POOL // 2):
            part = flat[begin : begin + _POOL // 2]
            part.copy_(pool[start : start + len(part)])
    return weights
