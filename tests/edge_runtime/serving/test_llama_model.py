"""A model file in llama.cpp: its tokens, their bytes and its chat template."""

from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import pytest

from edge_runtime.errors import ModelLoadError
from edge_runtime.serving.llama_model import LlamaModel
from tests.edge_runtime.tiny_models import SPECIAL

TEXT = "naïve café, Zürich 東京"


@pytest.fixture
def model(tiny_base: Path) -> Iterator[LlamaModel]:
    llama_cpp.llama_backend_init()
    made = LlamaModel(tiny_base, 0)
    yield made
    made.close()


def test_tokens_and_bytes_are_inverse(model: LlamaModel) -> None:
    tokens = model.tokenize(TEXT, add_special=False, markup=True)
    assert b"".join(model.piece(token) for token in tokens).decode() == TEXT
    assert all(token in model.tokens_of[model.piece(token)] for token in tokens)


def test_tokens_are_known_by_their_first_byte(model: LlamaModel) -> None:
    """Control tokens by their spelling; a byte's own token is none that ends an answer."""
    for token in range(model.vocab_size):
        piece = model.piece(token, markup=True)
        assert model.first_bytes[token] == (piece[0] if piece else 0)
    for byte, token in enumerate(model.tokens_of_bytes):
        assert token == -1 or model.piece(int(token), markup=True) == bytes([byte])
    assert not set(model.tokens_of_bytes) & set(model.ends)
    assert (model.tokens_of_bytes >= 0).sum() > 200


def test_control_tokens_are_obeyed_only_as_markup(model: LlamaModel) -> None:
    assert model.tokenize(SPECIAL[2], add_special=False, markup=True) == [2]
    spelled = model.tokenize(SPECIAL[2], add_special=False, markup=False)
    assert 2 not in spelled
    assert (model.piece(2), model.piece(2, markup=True)) == (b"", SPECIAL[2].encode())
    assert model.ends == [2]


def test_template_renders_the_beginning_of_an_answer_only_when_asked(model: LlamaModel) -> None:
    messages = [{"role": "user", "content": "hi"}]
    assert model.has_template
    assert model.apply_template(messages, False) == "<|bos|><|user|>\nhi\n"
    assert model.apply_template(messages, True) == "<|bos|><|user|>\nhi\n<|assistant|>\n"
    model.use_template("")
    assert not model.has_template


def test_file_that_is_no_model_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(ModelLoadError, match=r"cannot load text\.gguf"):
        LlamaModel(tmp_path / "text.gguf", 0)


def test_metadata_are_the_files_own(model: LlamaModel) -> None:
    assert model.metadata("general.architecture") == "llama"
    assert model.metadata("llama.block_count") == "2"
    assert model.metadata("nothing") is None
