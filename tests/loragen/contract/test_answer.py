import pytest

from loragen.contract.answer import TEXT_ANSWER, AnswerContract, encode_answer, parse_answer
from loragen.contract.errors import ContractError, FormatError, LimitError
from loragen.contract.limits import MAX_CHOICES, MAX_CONTRACT_BYTES

CHOICE = AnswerContract("choice", ("billing", "größe"), (330, 389))


def test_a_contract_has_one_text() -> None:
    assert encode_answer(TEXT_ANSWER) == '{"type":"text"}'
    assert encode_answer(CHOICE) == '{"choices":["billing","gr\\u00f6\\u00dfe"],"codes":[330,389],"type":"choice"}'


@pytest.mark.parametrize("contract", [TEXT_ANSWER, CHOICE, AnswerContract("choice", ("a",))])
def test_parsing_gives_back_what_was_encoded(contract: AnswerContract) -> None:
    assert parse_answer(encode_answer(contract)) == contract


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        "[" * 100_000,
        '{"type": "text"}',
        '{"type":"json"}',
        '{"type":["text"]}',
        '{"type":"text","x":1}',
        '{"choices":[],"type":"choice"}',
        '{"choices":["a"],"type":"text"}',
        '{"choices":["a","a"],"type":"choice"}',
        '{"choices":[""],"type":"choice"}',
        '{"choices":[1],"type":"choice"}',
        '{"choices":"ab","type":"choice"}',
        '{"choices":["a"],"codes":[1,2],"type":"choice"}',
        '{"choices":["a","b"],"codes":[1,1],"type":"choice"}',
        '{"choices":["a"],"codes":[true],"type":"choice"}',
        '{"choices":["a"],"codes":[-1],"type":"choice"}',
        '{"choices":["a"],"codes":[2147483648],"type":"choice"}',
        '{"choices":["a"],"codes":[1.0],"type":"choice"}',
        '{"codes":[1],"type":"text"}',
        '{"choices":["ä"],"type":"choice"}',
        '{"choices":["\\ud800"],"type":"choice"}',
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        parse_answer(text)


def test_limits() -> None:
    with pytest.raises(LimitError, match="choices"):
        AnswerContract("choice", tuple(map(str, range(MAX_CHOICES + 1))))
    with pytest.raises(LimitError, match="bytes"):
        AnswerContract("choice", ("x" * 401,))
    with pytest.raises(LimitError, match="bytes"):
        parse_answer(" " * (MAX_CONTRACT_BYTES + 1))
    with pytest.raises(FormatError, match="one code for each choice"):
        AnswerContract("choice", ("a", "b"), (7,))
