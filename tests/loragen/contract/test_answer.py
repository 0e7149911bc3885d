from dataclasses import replace

import pytest

from loragen.contract.answer import TEXT_ANSWER, AnswerContract, Function, encode_answer, parse_answer
from loragen.contract.errors import ContractError, FormatError, LimitError
from loragen.contract.limits import MAX_CHOICES, MAX_CONTRACT_BYTES

CHOICE = AnswerContract("choice", ("billing", "größe"), (330, 389))
PLACE = '{"properties":{"street":{"type":"string"},"city":{"type":"string"}},"required":["city"],"type":"object"}'
JSON = AnswerContract("json", schema=PLACE)
CALLS = AnswerContract(
    "tool_calls", codes=(3, 1, 2), functions=(Function("find", PLACE), Function("stop.all")), none="nö"
)
PARALLEL = AnswerContract("tool_calls", functions=(Function("stop"),), parallel=True)


def test_a_contract_has_one_text() -> None:
    assert encode_answer(TEXT_ANSWER) == '{"type":"text"}'
    assert encode_answer(CHOICE) == '{"choices":["billing","gr\\u00f6\\u00dfe"],"codes":[330,389],"type":"choice"}'
    assert encode_answer(JSON) == f'{{"schema":{PLACE},"type":"json"}}'
    assert encode_answer(PARALLEL) == '{"functions":[{"name":"stop"}],"parallel":true,"type":"tool_calls"}'
    assert encode_answer(CALLS) == (
        f'{{"codes":[3,1,2],"functions":[{{"name":"find","parameters":{PLACE}}},{{"name":"stop.all"}}],'
        '"none":"n\\u00f6","type":"tool_calls"}'
    )


def test_an_answer_of_calls_chooses_among_names_and_none() -> None:
    assert CALLS.options == ("find", "stop.all", "nö")
    assert replace(CALLS, none=None, codes=()).options == ("find", "stop.all")
    assert CHOICE.options == CHOICE.choices
    assert JSON.options == TEXT_ANSWER.options == ()


@pytest.mark.parametrize("contract", [TEXT_ANSWER, CHOICE, AnswerContract("choice", ("a",)), JSON, CALLS, PARALLEL])
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
        '{"type":"tool_calls"}',
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
        '{"schema":{},"type":"text"}',
        '{"schema":[],"type":"json"}',
        '{"schema":{"title":"x"},"type":"json"}',
        '{"schema":{"type":"string","pattern":"(a+)+"},"type":"json"}',
        '{"functions":[],"type":"tool_calls"}',
        '{"functions":[{"name":"a"},{"name":"a"}],"type":"tool_calls"}',
        '{"functions":[{"name":"no name"}],"type":"tool_calls"}',
        '{"functions":[{"name":"a\\n"}],"type":"tool_calls"}',
        '{"functions":[{"name":["a"]}],"type":"tool_calls"}',
        '{"functions":["a"],"type":"tool_calls"}',
        '{"functions":[{"name":"a"}],"none":"a","type":"tool_calls"}',
        '{"functions":[{"name":"a"}],"none":"","type":"tool_calls"}',
        '{"functions":[{"name":"a"}],"none":null,"type":"tool_calls"}',
        '{"functions":[{"name":"a","parameters":{"type":"string"}}],"type":"tool_calls"}',
        '{"functions":[{"name":"a","parameters":{"type":"object"}}],"type":"tool_calls"}',
        '{"codes":[1],"functions":[{"name":"a"}],"none":"b","type":"tool_calls"}',
        '{"functions":[{"name":"a"}],"parallel":false,"type":"tool_calls"}',
        '{"functions":[{"name":"a"}],"parallel":1,"type":"tool_calls"}',
        '{"parallel":true,"type":"text"}',
        '{"none":"x","type":"text"}',
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
    many = ",".join(['{"name":"a"}'] * (MAX_CHOICES + 1))
    with pytest.raises(LimitError, match="functions"):
        parse_answer(f'{{"functions":[{many}],"type":"tool_calls"}}')
    with pytest.raises(FormatError, match="one code for each choice"):
        AnswerContract("choice", ("a", "b"), (7,))
