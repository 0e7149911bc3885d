"""What a file that is loaded says of how it is to be served: its answer contract, and its residual prompt.

A merged GGUF and a GGUF adapter carry both in their metadata. A file without a contract takes any text, and one without
a residual prompt gets none. A file with one that cannot be read is refused as a whole, because its answers would mean
something else. Enforcing a contract is left to `serving.constraint` and the engine, the prompt to `serving.completion`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import AnswerContractError, ModelLoadError
from loragen.contract.answer import TEXT_ANSWER, AnswerContract, parse_answer
from loragen.contract.errors import ContractError
from loragen.contract.gguf_header import read_header
from loragen.contract.names import ANSWER_CONTRACT, RESIDUAL_PROMPT
from loragen.contract.residual_prompt import verify_residual_prompt


@dataclass(frozen=True, slots=True)
class SpecializationMetadata:
    """How a file is to be served.

    Attributes:
        answer: What its answers may look like.
        residual_prompt: Text in front of each chat; empty for none.
    """

    answer: AnswerContract = TEXT_ANSWER
    residual_prompt: str = ""


def parse_metadata(text_of: Callable[[str], str | None], path: Path) -> SpecializationMetadata:
    """How a file is to be served.

    Args:
        text_of: The text under a key of its metadata; None when there is none.
        path: The file, for messages.

    Raises:
        AnswerContractError: One of the two is malformed; the message names the file.
    """
    contract = text_of(ANSWER_CONTRACT)
    try:
        answer = TEXT_ANSWER if contract is None else parse_answer(contract)
        return SpecializationMetadata(answer, verify_residual_prompt(text_of(RESIDUAL_PROMPT) or ""))
    except ContractError as error:
        raise AnswerContractError(f"{path.name}: {error}", error.hint) from error


def verify_codes(contract: AnswerContract, path: Path, vocab_tokens: int) -> None:
    """Check that the codes are tokens of the model.

    Raises:
        AnswerContractError: One is not.
    """
    if (largest := max(contract.codes, default=0)) >= vocab_tokens:
        raise AnswerContractError(
            f"{path.name}: answer: expected codes below {vocab_tokens}, the size of the vocabulary, found {largest}"
        )


def read_metadata(path: Path) -> SpecializationMetadata:
    """How a file that is not loaded now is to be served.

    Raises:
        ModelLoadError: The file cannot be read.
        AnswerContractError: Its contract or its residual prompt is malformed.
    """
    try:
        header = read_header(path)
    except (ContractError, OSError) as error:
        raise ModelLoadError(f"{path.name}: {error}") from error

    def text_of(key: str) -> str | None:
        text = header.string(key)
        if text is None and key in header.metadata:
            raise AnswerContractError(f"{path.name}: {key.removeprefix('loragen.')}: expected text")
        return text

    return parse_metadata(text_of, path)
