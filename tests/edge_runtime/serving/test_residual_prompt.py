"""The residual prompt of a real model's file: read when it is loaded, in front of each chat, computed once."""

from pathlib import Path

import pytest

from edge_runtime.errors import AnswerContractError
from edge_runtime.serving.completion import ChatPrompt, CompletionRequest, complete
from edge_runtime.serving.engine import GREEDY, ChatMessage
from edge_runtime.serving.events import Started
from edge_runtime.serving.llama import LlamaLoader
from tests.edge_runtime.contracts import DESKS, with_answer


def never() -> bool:
    return False


@pytest.fixture
def loader() -> LlamaLoader:
    return LlamaLoader(context_tokens=256, threads=1)


def test_residual_prompt_of_an_engine_is_that_of_what_it_has_loaded(
    loader: LlamaLoader, tiny_base: Path, adapter: Path, tmp_path: Path
) -> None:
    model = with_answer(tiny_base, tmp_path / "model.gguf", DESKS, "Sort each mail.\nIn Zürich, 東京.")
    special = with_answer(adapter, tmp_path / "special.gguf", None, "Be brief. " * 200)
    for path, lora, expected in ((model, None, "Sort each mail.\nIn Zürich, 東京."), (model, adapter, "")):
        loaded = loader.load(path, lora)
        assert loaded.residual_prompt == expected
        loaded.close()
    loaded = loader.load(tiny_base, special)
    assert loaded.residual_prompt == "Be brief. " * 200
    loaded.close()
    with pytest.raises(AnswerContractError, match=r"long\.gguf: residual prompt: "):
        loader.load(with_answer(tiny_base, tmp_path / "long.gguf", None, "x" * 2049), None)
    assert loader._models == {}


@pytest.mark.parametrize("as_adapter", [True, False])
def test_residual_prompt_is_computed_once_for_a_slot(
    loader: LlamaLoader, tiny_base: Path, adapter: Path, tmp_path: Path, as_adapter: bool
) -> None:
    """It counts as prompt of each request, and the second one finds it in the context."""
    text = "Sort each mail, aged 12, into café or Zürich; spell <|end|> as text."
    path = with_answer(adapter if as_adapter else tiny_base, tmp_path / "special.gguf", None, text)
    engine = loader.load(tiny_base, path) if as_adapter else loader.load(path, None)
    started = []
    for question in ("The quick brown fox", "東京 main street"):
        request = CompletionRequest(ChatPrompt((ChatMessage("user", question),)), GREEDY, 4)
        started.append(next(event for event in complete(engine, request, never) if isinstance(event, Started)))
        expected = engine.tokenize_chat([ChatMessage("system", text), ChatMessage("user", question)])
        assert engine._tokens[: len(expected)] == expected
        assert started[-1].prompt_tokens == len(expected)
    alone = len(engine.tokenize_chat([ChatMessage("system", text)]))
    assert started[0].cached_tokens == 0
    assert alone - 5 < started[1].cached_tokens <= alone
    engine.close()
