"""llama.cpp splits text with a converted vocabulary as the original tokenizer does."""

import json
from typing import Any

import pytest
from gguf import Keys
from llama_cpp.llama_chat_format import Jinja2ChatFormatter
from structlog.testing import capture_logs
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

from cloud_service.generator.chat_format import answer_ids, question_ids
from edge_runtime.convert.vocabulary import load_vocabulary
from edge_runtime.errors import ConversionError
from tests.edge_runtime.convert.tiny_tokenizers import SPECIAL, TEXTS, as_tokenizer_json, train_sentencepiece
from tests.edge_runtime.tiny_models import (
    VOCABULARY,
    byte_level_tokenizer,
    save_tokenizer,
)

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA_3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL
QWEN_2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL


def split_then_bytes(pattern: str) -> Any:
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def digits_then_bytes() -> Any:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])


PRE_TOKENIZERS = {
    "gpt-2": lambda: byte_level_tokenizer(),
    "llama-bpe": lambda: byte_level_tokenizer(split_then_bytes(LLAMA_3), ignore_merges=True),
    "qwen2": lambda: byte_level_tokenizer(split_then_bytes(QWEN_2)),
    "smollm": lambda: byte_level_tokenizer(digits_then_bytes()),
}


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_byte_level_tokenizer_gives_the_same_ids_in_llama_cpp(pre, tmp_path, open_converted):
    tokenizer = PRE_TOKENIZERS[pre]()
    save_tokenizer(tokenizer, tmp_path)
    gguf = open_converted()
    assert gguf.llama.metadata["tokenizer.ggml.pre"] == pre
    assert [gguf.ids(text) for text in TEXTS] == [tokenizer.encode(text).ids for text in TEXTS]


def test_added_token_that_is_not_special_is_matched_in_plain_text(tmp_path, open_converted):
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens([AddedToken("<tool>", special=False, normalized=False)])
    save_tokenizer(tokenizer, tmp_path)
    text = "call <tool> now"
    assert open_converted().ids(text) == tokenizer.encode(text).ids


@pytest.mark.parametrize("explicit", [None, False])
def test_tokenizer_that_puts_bos_first_says_so_unless_the_configuration_denies_it(explicit, tmp_path):
    tokenizer = byte_level_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing("<|bos|> $A", special_tokens=[("<|bos|>", 1)])
    save_tokenizer(tokenizer, tmp_path, **({} if explicit is None else {"add_bos_token": explicit}))
    assert load_vocabulary(tmp_path, {}, VOCABULARY).add_bos is (explicit is None)


def test_second_end_of_generation_becomes_the_end_of_turn(tmp_path):
    save_tokenizer(byte_level_tokenizer(), tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 4]}))
    special = load_vocabulary(tmp_path, {}, VOCABULARY).special
    assert (special[Keys.Tokenizer.EOS_ID], special[Keys.Tokenizer.EOT_ID]) == (2, 4)


def test_chat_template_may_stand_in_a_file_of_its_own(tmp_path):
    save_tokenizer(byte_level_tokenizer(), tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    assert load_vocabulary(tmp_path, {}, VOCABULARY).chat_template == "{{ messages }}"


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (lambda: byte_level_tokenizer(pre_tokenizers.ByteLevel(add_prefix_space=True)), "add_prefix_space"),
        (lambda: byte_level_tokenizer(split_then_bytes(r"\w+|\W+")), "pre-tokenizer"),
        (lambda: byte_level_tokenizer(normalizer=normalizers.Lowercase()), "normalizer 'Lowercase'"),
        (lambda: byte_level_tokenizer(ignore_merges=True), "ignore_merges"),
        (lambda: Tokenizer(models.WordLevel({"a": 0}, unk_token="a")), "WordLevel"),
    ],
)
def test_tokenizer_that_llama_cpp_would_split_differently_is_refused(tokenizer, message, tmp_path):
    save_tokenizer(tokenizer(), tmp_path)
    with pytest.raises(ConversionError, match=message):
        load_vocabulary(tmp_path, {}, VOCABULARY)


def test_added_token_behind_the_embedding_is_left_out_with_a_warning(tmp_path):
    """Gemma 3's tokenizer lists `<image_soft_token>`, for which only its multimodal relatives have a row."""
    tokenizer = byte_level_tokenizer()
    size = tokenizer.get_vocab_size()
    tokenizer.add_tokens([AddedToken("<image>", special=True)])
    save_tokenizer(tokenizer, tmp_path)
    with capture_logs() as logs:
        vocabulary = load_vocabulary(tmp_path, {}, size)
    assert "<image>" not in vocabulary.tokens
    assert [(line["event"], line["token"], line["log_level"]) for line in logs] == [
        ("token_left_out", "<image>", "warning")
    ]


def test_tokenizer_larger_than_the_embedding_is_refused(tmp_path):
    save_tokenizer(byte_level_tokenizer(), tmp_path)
    with pytest.raises(ConversionError, match="300 rows"):
        load_vocabulary(tmp_path, {}, 300)


@pytest.mark.parametrize(
    "content",
    ["[]", "{", '{"model": 3}', '{"model": {"type": "BPE", "merges": [3]}}', '{"added_tokens": [{}]}', "\xff"],
)
def test_malformed_tokenizer_file_is_refused(content, tmp_path):
    (tmp_path / "tokenizer.json").write_text(content, encoding="latin-1")
    with pytest.raises(ConversionError):
        load_vocabulary(tmp_path, {}, VOCABULARY)


@pytest.mark.parametrize("system", [None, "Be brief."])
@pytest.mark.parametrize("kind", ["bytes", "bytes, begun", "sentencepiece"])
def test_model_without_a_chat_template_is_asked_as_it_was_trained(kind, system, tmp_path, open_converted):
    """Base models come without; the generator's training writes messages in lines."""
    if kind == "sentencepiece":
        tokenizer = as_tokenizer_json(train_sentencepiece())
        begin, options = "<s>", SPECIAL
    else:
        tokenizer = byte_level_tokenizer()
        begin, options = "<|bos|>", {}
    if kind != "bytes":
        special = [(begin, tokenizer.token_to_id(begin))]
        tokenizer.post_processor = processors.TemplateProcessing(f"{begin} $A", special_tokens=special)
    options = {**options, "chat_template": None, "tokenizer_class": "PreTrainedTokenizerFast"}
    save_tokenizer(tokenizer, tmp_path, **options)
    trained = AutoTokenizer.from_pretrained(tmp_path)
    gguf = open_converted()
    metadata = gguf.llama.metadata
    layout = Jinja2ChatFormatter(metadata["tokenizer.chat_template"], trained.eos_token, trained.bos_token)
    messages = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": "Is it 3:45?"}]
    expected = question_ids(trained, "Is it 3:45?", system)
    assert (expected[0] == trained.bos_token_id) is (kind != "bytes")
    assert gguf.ids(layout(messages=messages).prompt, special=True) == expected
    messages += [{"role": "assistant", "content": "yes"}]
    asked_again = gguf.ids(layout(messages=messages).prompt, special=True)
    assert asked_again == [*expected, *answer_ids(trained, "yes")]
