"""Sentencepiece tokenizers give the same ids in llama.cpp, or are refused."""

import json

import pytest
import sentencepiece

from edge_runtime.convert.vocabulary import load_vocabulary
from edge_runtime.errors import ConversionError
from tests.edge_runtime.convert.tiny_tokenizers import SPECIAL, TEXTS, as_tokenizer_json, train_sentencepiece
from tests.edge_runtime.tiny_models import (
    VOCABULARY,
    save_tokenizer,
)


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
