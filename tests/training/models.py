"""Helpers: tiny models over a toy tokenizer, and a pair of them that training loads."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cloud_service.generator import GeneratorConfig
from cloud_service.task import render_prompt
from training.data.episodes import Mixture

SPECIAL_TOKENS = ["<|pad|>", "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = (
    "{{ '<|bos|>' }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
CONFIG = """
[load]
cloud = "{folder}/cloud"
edge = "{folder}/edge"
[generator]
id = "tiny"
experts = 4
call_experts = 2
label_experts = 1
residual_prompt_tokens = 60
gating = "dense"
groups = 3
rank = 2
alpha = 2.0
norm = "layer"
router_width = 16
adapter_rank = 2
max_prompt_tokens = 400
[generator.choice]
first_layer = 1
rank = 9
[choice]
requests = 2
described_tools = 6
labelled = 4
codes = 5
strength = 80.0
own_texts = 8
[labels]
steps = 2
sets = 2
warmup = 1
[calls]
steps = 2
sets = 2
warmup = 1
[fit]
steps = 3
tasks = 4
inputs = 2
learning_rate = 2e-3
cloud_learning_rate = 1e-3
warmup = 1
longest_prompt = 400
longest_turn = 96
[[refine]]
steps = 2
seed = 1
"""


def texts_of_episodes(mixture: Mixture, episodes: int) -> Iterator[str]:
    """Prompts, inputs and answers of training's episodes, for a tokenizer to know their words."""
    rng = random.Random("tokenizer")
    for _ in range(episodes):
        episode = mixture.draw(rng, "train", 4)
        yield render_prompt(episode.task)
        for instance in episode.instances:
            yield instance.input
            yield instance.output


def toy_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of 400 tokens with a chat template; it adds no special tokens on its own."""
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bare.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bare,
        pad_token="<|pad|>",
        bos_token="<|bos|>",
        eos_token="<|end|>",
        additional_special_tokens=SPECIAL_TOKENS[3:],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def tiny_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> LlamaForCausalLM:
    """A Llama with weights large enough that its answers are far from even."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=1024,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


def store_tiny_models(folder: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Stores a cloud and an edge model, and beside the folder a training config for them.

    Returns:
        The config's path.
    """
    for seed, name in enumerate(("cloud", "edge"), 1):
        tiny_model(tokenizer, seed).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    config = folder.with_name("tiny.toml")
    config.write_text(CONFIG.format(folder=folder))
    return config


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
