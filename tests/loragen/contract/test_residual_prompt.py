"""Which texts may be a residual prompt."""

import pytest

from loragen.contract.errors import ContractError, FormatError, LimitError
from loragen.contract.limits import MAX_PROMPT_TOKENS, MAX_RESIDUAL_PROMPT_BYTES
from loragen.contract.residual_prompt import verify_counted, verify_residual_prompt


@pytest.mark.parametrize("text", ["", " ", "Sort each mail.\nIn Zürich, 東京.", "x" * MAX_RESIDUAL_PROMPT_BYTES])
def test_text_is_kept_as_it_is(text: str) -> None:
    assert verify_residual_prompt(text) == text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a\0b", FormatError),
        ("\ud800", FormatError),
        ("x" * (MAX_RESIDUAL_PROMPT_BYTES + 1), LimitError),
        ("東" * (MAX_RESIDUAL_PROMPT_BYTES // 3 + 1), LimitError),
    ],
)
def test_other_text_is_refused(text: str, error: type[ContractError]) -> None:
    with pytest.raises(error, match="residual prompt"):
        verify_residual_prompt(text)
    with pytest.raises(error, match="residual prompt"):
        verify_counted(text, 5)


@pytest.mark.parametrize(("text", "tokens"), [("", 1), ("Sort.", 0), ("Sort.", -1), ("Sort.", MAX_PROMPT_TOKENS + 1)])
def test_count_must_go_with_the_text(text: str, tokens: int) -> None:
    verify_counted("", 0)
    verify_counted("Sort.", 2)
    with pytest.raises(ContractError):
        verify_counted(text, tokens)
