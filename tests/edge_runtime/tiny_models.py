"""Helper: tiny random models with real tokenizers, and two ways to run them: transformers and llama.cpp.

torch and transformers are loaded where they are used: an emulated machine has neither, and gets its models made.
"""

import json
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from loragen.contract.bundle import Bundle, BundleHeader
from loragen.contract.lora import EdgeShape, Lora

TEXT = (
    "The quick brown fox, aged 12, jumps over the lazy dog. It's 3:45 pm; we'll meet at 10001 Main Street!\n"
    "def add(a, b):\n    return a + b  # naïve café, Zürich 東京\n\n"
    '{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}\n'
)
SPECIAL = ["<|pad|>", "<|bos|>", "<|end|>", "<|user|>", "<|assistant|>"]
TEMPLATE = (
    "{{ '<|bos|>' }}{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
VOCABULARY = 600


def byte_level_tokenizer(pre: Any = None, *, normalizer: Any = None, ignore_merges: bool = False) -> Tokenizer:
    """A byte-level BPE of about 500 tokens, trained on a few lines."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre or pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 3, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, directory: Path, **extra: Any) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`."""
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {"bos_token": "<|bos|>", "eos_token": "<|end|>", "pad_token": "<|pad|>", "chat_template": TEMPLATE}
    (directory / "tokenizer_config.json").write_text(json.dumps(config | extra))


def random_model(config: Any, seed: int = 0, scale: float = 0.2) -> Any:
    """A float32 causal LM with weights large enough that every part of it shows in the logits."""
    import torch
    import transformers

    torch.manual_seed(seed)
    config.dtype = "float32"
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * scale)
    return model


def llama_config(**changes: Any) -> Any:
    """The shape of a small Llama: grouped queries, tied embeddings."""
    import transformers

    values: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return transformers.LlamaConfig(**values | changes)


TINY_LLAMAS: dict[str, dict[str, Any]] = {"tiny-edge": {"seed": 5, "scale": 0.1}, "llama": {"scale": 0.05}}
"""How `random_model` makes those that many tests share."""


def save_tiny_llama(name: str, directory: Path) -> None:
    """Write one of `TINY_LLAMAS` in Hugging Face form."""
    random_model(llama_config(), **TINY_LLAMAS[name]).save_pretrained(directory)
    save_tokenizer(byte_level_tokenizer(), directory)


def hf_logits(model: Any, ids: list[int]) -> np.ndarray:
    """Logits of every position, (tokens, vocabulary) float32."""
    import torch

    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()


class Gguf:
    """A GGUF model in llama.cpp."""

    def __init__(self, path: Path) -> None:
        self.llama = llama_cpp.Llama(
            str(path), n_ctx=256, n_batch=256, n_threads=1, logits_all=True, verbose=False, use_mmap=True, swa_full=True
        )

    def ids(self, text: str, special: bool = False) -> list[int]:
        return self.llama.tokenize(text.encode(), add_bos=False, special=special)

    def logits(self, ids: list[int]) -> np.ndarray:
        self.llama.reset()
        self.llama.eval(ids)
        return np.array(self.llama.scores[: len(ids)], np.float32)


def tiny_bundle(
    shape: EdgeShape, digest: str, *, relative: float = 0.03, std: float = 0.07, rank: int = 8, seed: int = 3
) -> Bundle:
    """A random LoRA; its delta is `relative` times the weights, whose standard deviation is `std`."""
    rng = np.random.default_rng(seed)
    # Entries of B A are sums of `rank` products.
    size = (relative * std / rank**0.5) ** 0.5

    def draw(*dimensions: int) -> np.ndarray:
        return (rng.standard_normal(dimensions) * size).astype(np.float16)

    factors = {}
    for block in shape.blocks():
        width_in, width_out = shape.in_out(block[1])
        factors[block] = (draw(rank, width_in), draw(width_out, rank))
    header = BundleHeader(
        generator_id="test",
        generator_digest="1" * 64,
        edge_model_id="tiny-edge",
        edge_model_digest=digest,
        layers=shape.layers,
        edge_model_hidden=shape.hidden,
        edge_model_intermediate=shape.intermediate,
        gates_digest="2" * 64,
        prompt_tokens=100,
    )
    return Bundle(header, Lora(shape, factors))


def older_config(config: dict, **keys: object) -> dict:
    """A `config.json` as transformers 4 wrote it."""
    return {key: value for key, value in config.items() if key not in ("rope_parameters", "layer_types")} | keys
