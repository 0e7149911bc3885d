"""llama.cpp splits text with a converted vocabulary as the original tokenizer does."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from gguf import Keys
from llama_cpp.llama_chat_format import Jinja2ChatFormatter
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

from cloud_service.generator.chat_format import answer_ids, question_ids
from edge_runtime.convert import FloatType, convert_model
from edge_runtime.convert.vocabulary import load_vocabulary
from edge_runtime.errors import ConversionError
from tests.edge_runtime.tiny_models import (
    TEXT,
    VOCABULARY,
    byte_level_tokenizer,
    llama_config,
    random_model,
    save_tokenizer,
)

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA_3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL
QWEN_2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL
TEXTS = [
    TEXT,
    "",
    " ",
    "   leading, and trailing   ",
    "a\r\n\r\n\tb\n \n  c",
    "DON'T I'LL they'Re 1234567 12,345.67 x=1;y==2",
    "emoji 👩‍👩‍👧 ñandú — “quotes” … ﬁ",
    "한국어 العربية \u00a0nbsp\u3000wide",
    "tool_call(city=\"Paris\", n=3) -> {'a': [1, 2]}",
]


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


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A model as small as llama.cpp takes, without a tokenizer."""
    directory = tmp_path_factory.mktemp("weights")
    config = llama_config(hidden_size=64, intermediate_size=64, num_hidden_layers=1)
    random_model(config).save_pretrained(directory)
    return directory


@pytest.fixture
def open_converted(weights, tmp_path, open_gguf):
    """Converts the weights with whatever tokenizer the test has put into `tmp_path`, and opens the result."""

    def convert():
        for path in weights.iterdir():
            shutil.copy(path, tmp_path)
        convert_model(tmp_path, tmp_path / "m.gguf", FloatType.F16, "tiny")
        return open_gguf(tmp_path / "m.gguf")

    return convert


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


def train_sentencepiece(**options: Any) -> bytes:
    model = io.BytesIO()
    settings: dict[str, Any] = {
        "model_type": "bpe",
        "vocab_size": 380,
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "character_coverage": 1.0,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.splitlines() * 3), model_writer=model, minloglevel=9, **settings | options
    )
    return model.getvalue()


def as_tokenizer_json(model: bytes, *, complete: bool = True) -> Tokenizer:
    """The rules that Hugging Face makes of a sentencepiece model: every pair whose union is a piece, best first."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(i) for i in range(len(processor))]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    rules = [
        (-processor.get_score(vocab[piece]), cut, (piece[:cut], piece[cut:]))
        for piece in pieces[3:]
        if not processor.is_byte(vocab[piece])
        for cut in range(1, len(piece))
        if piece[:cut] in vocab and piece[cut:] in vocab
    ]
    merges = [pair for _, _, pair in sorted(rules)]
    tokenizer = Tokenizer(
        models.BPE(vocab, merges if complete else merges[:-1], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    space = "\N{LOWER ONE EIGHTH BLOCK}"
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(space), normalizers.Replace(" ", space)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": None}


@pytest.mark.parametrize("system", [None, "Be brief."])
@pytest.mark.parametrize("kind", ["bytes", "bytes, begun", "sentencepiece"])
def test_model_without_a_chat_template_is_asked_as_it_was_trained(kind, system, tmp_path, open_converted):
    """Base models come without; the generator's training lays turns out in lines."""
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


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_model_gives_the_same_ids_in_llama_cpp(prefix, tmp_path, open_converted):
    model = train_sentencepiece(add_dummy_prefix=prefix)
    (tmp_path / "tokenizer.model").write_bytes(model)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(SPECIAL))
    gguf = open_converted()
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert [gguf.ids(text) for text in TEXTS] == [processor.encode(text) for text in TEXTS]
    assert gguf.llama.metadata["tokenizer.ggml.add_bos_token"] == "true"


def test_tokenizer_json_with_byte_fallback_gives_the_same_ids_in_llama_cpp(tmp_path, open_converted):
    tokenizer = as_tokenizer_json(train_sentencepiece())
    save_tokenizer(tokenizer, tmp_path, **SPECIAL)
    gguf = open_converted()
    assert [gguf.ids(text) for text in TEXTS] == [tokenizer.encode(text).ids for text in TEXTS]


def test_user_defined_pieces_of_spaces_are_matched_before_merging(tmp_path, open_converted):
    """Gemma has tokens for runs of spaces and line feeds."""
    model = train_sentencepiece(user_defined_symbols=["\N{LOWER ONE EIGHTH BLOCK}" * 3, "\n\n"], add_dummy_prefix=False)
    (tmp_path / "tokenizer.model").write_bytes(model)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(SPECIAL))
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    text = "a   b\n\nc  d"
    assert open_converted().ids(text) == processor.encode(text)


def test_merge_rules_that_are_not_complete_are_no_sentencepiece_model(tmp_path):
    save_tokenizer(as_tokenizer_json(train_sentencepiece(), complete=False), tmp_path, **SPECIAL)
    with pytest.raises(ConversionError, match="no rule joins"):
        load_vocabulary(tmp_path, {}, VOCABULARY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "unigram"}, "no BPE model"),
        ({"byte_fallback": False, "vocab_size": 200}, "byte fallback"),
        ({"normalization_rule_name": "nmt_nfkc"}, "normalizes"),
        ({"remove_extra_whitespaces": True}, "normalizes"),
    ],
)
def test_other_sentencepiece_model_is_refused(options, message, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(train_sentencepiece(**{"vocab_size": 330} | options))
    with pytest.raises(ConversionError, match=message):
        load_vocabulary(tmp_path, {}, VOCABULARY)


def test_sentencepiece_model_cut_anywhere_is_refused_or_shorter(tmp_path):
    """A cut between two pieces leaves well-formed protobuf, without the trainer's settings that must follow."""
    model = train_sentencepiece()
    for length in range(0, len(model), 97):
        (tmp_path / "tokenizer.model").write_bytes(model[:length])
        with pytest.raises(ConversionError):
            load_vocabulary(tmp_path, {}, VOCABULARY)
