"""Helpers: tiny models over the toy tokenizer."""

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from cloud_service.generator import GeneratorConfig
from training.fit.pretrain import LanguageModelSize, new_language_model

SIZE = LanguageModelSize(hidden=32, intermediate=48, layers=2, heads=2, key_value_heads=1)


def tiny_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> LlamaForCausalLM:
    """A Llama with weights large enough that its answers are far from even."""
    model = new_language_model(SIZE, tokenizer, seed).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


def tiny_config(**changes: object) -> GeneratorConfig:
    """Small settings of a generator."""
    values: dict[str, object] = {
        "id": "tiny",
        "experts": 4,
        "rank": 2,
        "alpha": 2.0,
        "router_width": 8,
        "adapter_rank": 0,
        "max_prompt_tokens": 400,
    }
    return GeneratorConfig(**values | changes)  # type: ignore[arg-type]
