"""The answer contract of a file that is loaded: a merged GGUF or a GGUF adapter carries it in its metadata.

A file that carries none takes any text; one with a contract that cannot be read is refused as a whole, because its
answers would mean something else. Enforcing a contract is left to `serving.constraint` and the engine.
"""

from pathlib import Path

from edge_runtime.errors import AnswerContractError, ModelLoadError
from loragen.contract.answer import TEXT_ANSWER, AnswerContract, parse_answer
from loragen.contract.errors import ContractError
from loragen.contract.gguf_header import read_header
from loragen.contract.names import ANSWER_CONTRACT


def parse_metadata(text: str | None, path: Path) -> AnswerContract:
    """The contract of a file, from what stands under `ANSWER_CONTRACT`; None for nothing.

    Raises:
        AnswerContractError: It is malformed; the message names the file.
    """
    if text is None:
        return TEXT_ANSWER
    try:
        return parse_answer(text)
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


def read_answer(path: Path) -> AnswerContract:
    """The contract of a file that is not loaded now.

    Raises:
        ModelLoadError: The file cannot be read.
        AnswerContractError: Its contract is malformed.
    """
    try:
        header = read_header(path)
    except (ContractError, OSError) as error:
        raise ModelLoadError(f"{path.name}: {error}") from error
    # A value that is no text is malformed too, and not the same as none.
    return parse_metadata((header.string(ANSWER_CONTRACT) or "") if ANSWER_CONTRACT in header.metadata else None, path)
