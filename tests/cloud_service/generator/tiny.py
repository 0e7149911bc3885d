"""Helper: tiny random models of the supported families, tokenizers, and generators whose experts are not zero."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from cloud_service.generator import GeneratorConfig, LoraGenerator
from cloud_service.generator.checkpoint import BANK_FILE, ModelReference, store_generator
from cloud_service.generator.edge import edge_projections, edge_shape
from loragen.contract.bank import Bank
from loragen.contract.digest import model_digest
from loragen.contract.lora import Lora

VOCABULARY = 320

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
    "mistral": (transformers.MistralConfig, _SIZE),
    "smollm3": (transformers.SmolLM3Config, {key: value for key, value in _SIZE.items() if key != "head_dim"}),
    "granite": (transformers.GraniteConfig, {key: value for key, value in _SIZE.items() if key != "head_dim"}),
    "olmo2": (transformers.Olmo2Config, {key: value for key, value in _SIZE.items() if key != "head_dim"}),
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

_BERT_SIZE = {key: value for key, value in _NEOX_SIZE.items() if not key.endswith(("bos_token_id", "eos_token_id"))}
_ENCODERS: dict[str, Any] = {
    "bert": (transformers.BertConfig, _BERT_SIZE | {"pad_token_id": 0}),
    "roberta": (transformers.RobertaConfig, _BERT_SIZE | {"pad_token_id": 1}),
    "distilbert": (
        transformers.DistilBertConfig,
        {"vocab_size": VOCABULARY, "dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4}
        | {"max_position_embeddings": 256, "pad_token_id": 0},
    ),
    "modernbert": (transformers.ModernBertConfig, _BERT_SIZE | {"pad_token_id": 0, "reference_compile": False}),
}


def random_model(family: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A frozen float32 causal LM or encoder, with weights large enough that every part of it shows in what it gives."""
    make, values = (_ENCODERS if family in _ENCODERS else _MAKERS)[family]
    kind = transformers.AutoModel if family in _ENCODERS else transformers.AutoModelForCausalLM
    torch.manual_seed(seed)
    model: PreTrainedModel = kind.from_config(make(**values | changes))
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


def encoder_tokenizer(text: str = "route the message to a tool") -> PreTrainedTokenizerFast:
    """An uncased word-piece tokenizer that frames a text as BERT's does: [CLS] text [SEP]."""
    bare = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    bare.normalizer = normalizers.BertNormalizer()
    bare.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz"),
        show_progress=False,
    )
    bare.train_from_iterator([text] * 3, trainer)
    bare.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=bare, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def record_package(site: Path, name: str, files: list[str]) -> None:
    """Makes files of a folder that Python searches a package, as pip leaves it: with metadata and a record of them."""
    metadata = site / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "RECORD").write_text("".join(f"{file},,\n" for file in files))


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
            if name.startswith(("bank.", "calls.", "labels.")) or name in ("choice.a", "choice.b"):
                parameter.copy_(parameter.half())
        for name, buffer in generator.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer += torch.rand_like(buffer)
    return generator.eval()


def merge_lora(model: PreTrainedModel, lora: Lora) -> None:
    """Adds a LoRA to the model's weights for good: W' = W + B A, the scale being in B (paper, section 3.3)."""
    with torch.no_grad():
        projections = edge_projections(model)
        for key, pair in lora.factors.items():
            a, b = (torch.tensor(factor).float() for factor in pair)
            projections[key].weight += b @ a


@dataclass(frozen=True)
class Pair:
    """Folders of a stored pair, and the generator as it was in memory."""

    cloud: Path
    edge: Path
    generator: Path
    original: LoraGenerator


def make_pair(root: Path, reads: str = "llama", **changes: Any) -> Pair:
    """Stores a cloud model, a Llama unless another family `reads`, a Qwen2 edge model and a generator for them."""
    cloud, edge = random_model(reads, seed=1), random_model("qwen2", seed=2)
    references = []
    for model, words, name in (
        (cloud, encoder_tokenizer() if reads in _ENCODERS else tokenizer(bos_token="<s>"), "cloud"),
        (edge, tokenizer("route the message to a tool"), "edge"),
    ):
        model.save_pretrained(root / name)
        words.save_pretrained(root / name)
        references.append(ModelReference(f"test/{name}", model_digest(root / name)))
    settings = {"norm": "batch", "gating": "dense", "groups": 3, "adapter_rank": 2} | changes
    generator = random_generator(generator_config(**settings), cloud, edge)
    store_generator(root / "generator", generator, *references)
    return Pair(root / "cloud", root / "edge", root / "generator", generator)


def load_experts(directory: Path, generator: LoraGenerator) -> None:
    """Load the experts and the choice head of a checkpoint into torch, which the service never does."""
    bank = Bank.open(directory / BANK_FILE)
    with torch.no_grad():
        for layer, projection in bank.header.blocks():
            a, b = bank.factors(layer, projection)
            place, first = layer - generator.config.first_layer, 0
            for experts in generator.banks:
                own = slice(first, first + experts.config.experts)
                experts.a[projection][place] = torch.from_numpy(a[own].astype(np.float32))
                experts.b[projection][place] = torch.from_numpy(b[own].astype(np.float32))
                first = own.stop
        if generator.choice is not None:
            for place, layer in enumerate(bank.header.choice_layers):
                a, b = bank.choice_factors(layer)
                generator.choice.a[place] = torch.from_numpy(a.astype(np.float32))
                generator.choice.b[place] = torch.from_numpy(b.astype(np.float32))
