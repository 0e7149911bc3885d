"""The answer contract and the residual prompt in the metadata of a file."""

from pathlib import Path

import pytest

from edge_runtime.errors import AnswerContractError, ModelLoadError
from edge_runtime.serving.specialization_metadata import (
    SpecializationMetadata,
    parse_metadata,
    read_metadata,
    verify_codes,
)
from loragen.contract.answer import TEXT_ANSWER, AnswerContract
from loragen.contract.gguf_header import Value, texts, uint32
from tests.edge_runtime.contracts import DESKS, SPELLED, with_answer


@pytest.mark.parametrize("contract", [TEXT_ANSWER, SPELLED, DESKS])
def test_contract_of_a_file_is_read_back(tiny_base: Path, tmp_path: Path, contract: AnswerContract) -> None:
    path = with_answer(tiny_base, tmp_path / "model.gguf", contract, "Sort each mail.\nIn Zürich.")
    assert read_metadata(path) == SpecializationMetadata(contract, "Sort each mail.\nIn Zürich.")


def test_file_without_them_takes_any_text_and_puts_nothing_in_front(tiny_base: Path, tmp_path: Path) -> None:
    assert read_metadata(with_answer(tiny_base, tmp_path / "model.gguf", None)) == SpecializationMetadata()
    assert read_metadata(with_answer(tiny_base, tmp_path / "model.gguf", None, "")) == SpecializationMetadata()
    assert parse_metadata(lambda key: None, tiny_base) == SpecializationMetadata(TEXT_ANSWER, "")


@pytest.mark.parametrize(
    "malformed", ["", "text", "{}", '{"type": "text"}', '{"choices":[],"type":"choice"}', uint32(5), texts(["a"])]
)
def test_malformed_contract_refuses_the_file_by_name(tiny_base: Path, tmp_path: Path, malformed: str | Value) -> None:
    path = with_answer(tiny_base, tmp_path / "router.gguf", malformed)
    with pytest.raises(AnswerContractError, match=r"router\.gguf: answer: "):
        read_metadata(path)


@pytest.mark.parametrize("malformed", ["x" * 2049, "a\0b", uint32(5), texts(["a"])])
def test_malformed_residual_prompt_refuses_the_file_by_name(
    tiny_base: Path, tmp_path: Path, malformed: str | Value
) -> None:
    path = with_answer(tiny_base, tmp_path / "router.gguf", TEXT_ANSWER, malformed)
    with pytest.raises(AnswerContractError, match=r"router\.gguf: residual.prompt: "):
        read_metadata(path)


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF")
    for name in ("damaged.gguf", "gone.gguf"):
        with pytest.raises(ModelLoadError, match=name) as caught:
            read_metadata(tmp_path / name)
        assert not isinstance(caught.value, AnswerContractError)


def test_code_must_be_a_token_of_the_model(tmp_path: Path) -> None:
    verify_codes(DESKS, tmp_path / "router.gguf", 68)
    verify_codes(SPELLED, tmp_path / "router.gguf", 1)
    with pytest.raises(AnswerContractError, match=r"router\.gguf: .*below 67.*found 67"):
        verify_codes(DESKS, tmp_path / "router.gguf", 67)
