"""The residual prompt of a real model's file: read when it is loaded, in front of each chat, computed once."""

from pathlib import Path

import pytest

from edge_runtime.errors import AnswerContractError
from edge_runtime.serving.chat import ChatMessage
from edge_runtime.serving.completion import ChatPrompt, CompletionRequest, complete_alone, prefill_residual_prompt
from edge_runtime.serving.engine import GREEDY
from edge_runtime.serving.events import Started
from edge_runtime.serving.llama import LlamaLoader
from edge_runtime.serving.prefix_cache import CHUNK
from tests.edge_runtime.contracts import DESKS, with_answer


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
    """Ahead of all requests. It counts as prompt of each request, and all of it is there already."""
    text = "Sort each mail, aged 12, into café or Zürich; spell <|end|> as text. " * 2
    path = with_answer(adapter if as_adapter else tiny_base, tmp_path / "special.gguf", None, text)
    engine = loader.load(tiny_base, path) if as_adapter else loader.load(path, None)
    for _ in prefill_residual_prompt(engine):
        engine.step()
    chats = [
        engine.tokenize_chat([ChatMessage("system", text), ChatMessage("user", question)])
        for question in ("The quick brown fox", "東京 main street")
    ]
    common = next(at for at, pair in enumerate(zip(*chats, strict=False)) if len(set(pair)) > 1)
    assert common > CHUNK
    assert common % CHUNK
    for question, expected in zip(("The quick brown fox", "東京 main street"), chats, strict=True):
        request = CompletionRequest(ChatPrompt((ChatMessage("user", question),)), GREEDY, 4)
        started = next(event for event in complete_alone(engine, request) if isinstance(event, Started))
        assert started.prompt_tokens == len(expected)
        assert started.cached_tokens == common
    engine.close()


def test_system_message_of_a_client_is_used_again_as_a_whole(loader: LlamaLoader, tiny_base: Path) -> None:
    """Also one that is shorter than a chunk."""
    engine = loader.load(tiny_base, None)
    for system in ("Sort each mail.", "Sort each mail, aged 12, into café or Zürich. " * 3):
        prompts = [
            ChatPrompt((ChatMessage("system", system), ChatMessage("user", question)))
            for question in ("The quick brown fox", "東京 main street")
        ]
        chats = [engine.tokenize_chat(prompt.messages) for prompt in prompts]
        common = next(at for at, pair in enumerate(zip(*chats, strict=False)) if len(set(pair)) > 1)
        cached = []
        for prompt in prompts:
            events = list(complete_alone(engine, CompletionRequest(prompt, GREEDY, 4)))
            cached += [event.cached_tokens for event in events if isinstance(event, Started)]
        assert cached[1] == common
    engine.close()
