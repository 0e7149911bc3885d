"""The answer contract of a real model's file or adapter: read when it is loaded, refused when it cannot hold."""

from pathlib import Path

import pytest

from edge_runtime.errors import AnswerContractError
from edge_runtime.serving.llama import LlamaLoader
from loragen.contract.answer import TEXT_ANSWER, AnswerContract
from tests.edge_runtime.contracts import DESKS, SPELLED, with_answer


@pytest.fixture
def loader() -> LlamaLoader:
    return LlamaLoader(context_tokens=256, threads=1)


def test_file_says_what_its_answers_may_look_like(
    loader: LlamaLoader, tiny_base: Path, adapter: Path, tmp_path: Path
) -> None:
    """Of an adapter and its model, the adapter counts, even when it says nothing."""
    model = with_answer(tiny_base, tmp_path / "model.gguf", DESKS)
    special = with_answer(adapter, tmp_path / "special.gguf", SPELLED)
    plain = with_answer(adapter, tmp_path / "plain.gguf", None)
    for lora, expected in ((None, DESKS), (special, SPELLED), (plain, TEXT_ANSWER)):
        engine = loader.load(model, lora)
        assert engine.answer == expected
        engine.close()


def test_contract_longer_than_a_page_is_read_whole(loader: LlamaLoader, tiny_base: Path, tmp_path: Path) -> None:
    long = AnswerContract("choice", tuple(f"{number:03}" + "ü" * 190 for number in range(200)))
    engine = loader.load(with_answer(tiny_base, tmp_path / "model.gguf", long), None)
    assert engine.answer == long
    engine.close()


@pytest.mark.parametrize("malformed", ['{"type": "text"}', "", '{"choices":["a","b"],"codes":[5,600],"type":"choice"}'])
def test_file_with_a_contract_that_cannot_hold_is_refused_and_closed(
    loader: LlamaLoader, tiny_base: Path, adapter: Path, tmp_path: Path, malformed: str
) -> None:
    """Code 600 is no token: the vocabulary has 600."""
    for source, base in ((tiny_base, None), (adapter, tiny_base)):
        path = with_answer(source, tmp_path / "router.gguf", malformed)
        with pytest.raises(AnswerContractError, match=r"router\.gguf: answer: "):
            loader.load(base or path, path if base else None)
    assert loader._models == {}
