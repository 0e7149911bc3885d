"""Trains the tokenizer that both nano models share, with the chat template that training, service and device render."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from cloud_service.task import render_prompt
from training.data.corpus import read_paragraphs
from training.data.episodes import Mixture

SPECIAL_TOKENS = ("<|pad|>", "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{{ '<|bos|>' }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + '<|end|>' }}"
    "{% else %}{{ '<|' + message['role'] + '|>' + message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of `vocabulary` tokens; it never adds special tokens on its own, the template does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        bos_token="<|bos|>",
        eos_token="<|end|>",
        additional_special_tokens=["<|system|>", "<|user|>", "<|assistant|>"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def sample_texts(mixture: Mixture, data: Path, seed: int, episodes: int, paragraphs: int) -> Iterator[str]:
    """Text of the kind that the models will read: prompts, inputs and answers, then prose."""
    rng = random.Random(f"tokenizer/{seed}")
    for _ in range(episodes):
        episode = mixture.draw(rng, "train", 4)
        yield render_prompt(episode.task)
        for instance in episode.instances:
            yield instance.input
            yield instance.output
    for name in ("gutenberg.txt.zst", "openstax_ccby.txt.zst"):
        for index, paragraph in enumerate(read_paragraphs(data / "text" / name)):
            if index >= paragraphs // 2:
                break
            yield paragraph
