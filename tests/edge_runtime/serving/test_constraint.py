"""What an answer is constrained to."""

import json
from dataclasses import replace

import pytest

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.constraint import Constraint, ToolUse, constrained, is_for_base
from edge_runtime.serving.engine import Sampling
from loragen.contract.answer import TEXT_ANSWER, AnswerContract, Function
from loragen.contract.json_schema import ANY_OBJECT
from loragen.contract.limits import MAX_PARALLEL_CALLS
from tests.edge_runtime.contracts import CALLS, DESKS, SPELLED

PERSON = '{"properties":{"name":{"type":"string"}},"required":["name"],"type":"object"}'


@pytest.mark.parametrize(
    ("asked", "contract", "choices", "codes"),
    [
        ((), TEXT_ANSWER, (), ()),
        ((), SPELLED, SPELLED.choices, ()),
        ((), DESKS, DESKS.choices, DESKS.codes),
        (("a", "b"), TEXT_ANSWER, ("a", "b"), ()),
        (("a", "billing"), SPELLED, ("a", "billing"), ()),
        (("a", "billing"), DESKS, ("a", "billing"), ()),
        (("delivery", "billing"), DESKS, ("delivery", "billing"), (66, 65)),
        (("billing",) * 2, DESKS, ("billing",), (65,)),
    ],
)
def test_request_goes_before_the_contract_and_codes_are_used_where_they_are_known(
    asked: tuple[str, ...], contract: AnswerContract, choices: tuple[str, ...], codes: tuple[int, ...]
) -> None:
    found = constrained(Sampling(temperature=0.5, seed=1, choices=asked), contract)
    expected = Sampling(temperature=0.5, seed=1, choices=choices, codes=codes, avoided=contract.codes)
    assert found == Constraint(expected)


@pytest.mark.parametrize("contract", [TEXT_ANSWER, SPELLED, DESKS])
def test_request_that_wants_no_contract_has_its_own_choices_alone(contract: AnswerContract) -> None:
    assert constrained(Sampling(), contract, constrain=False) == Constraint(Sampling())
    own = Sampling(choices=("billing", "delivery"))
    assert constrained(own, contract, constrain=False) == Constraint(own)


def test_schema_of_the_contract_holds_unless_the_request_has_its_own_form() -> None:
    contract = AnswerContract("json", schema='{"type":"object"}')
    assert constrained(Sampling(), contract).sampling.schema == contract.schema
    assert constrained(Sampling(schema='{"type":"null"}'), contract).sampling.schema == '{"type":"null"}'
    assert constrained(Sampling(choices=("a",)), contract) == Constraint(Sampling(choices=("a",)))
    own = constrained(Sampling(schema='{"type":"null"}'), DESKS).sampling
    assert (own.choices, own.codes, own.avoided) == ((), (), DESKS.codes)


def _labelled(*desks: str, name: str = "desk") -> Sampling:
    """A request for JSON that holds one of these desks."""
    schema = {"properties": {name: {"enum": desks}}, "required": [name], "type": "object"}
    return Sampling(schema=json.dumps(schema, separators=(",", ":")))


@pytest.mark.parametrize(
    ("contract", "expected"),
    [
        (AnswerContract("json", schema=PERSON), Sampling(schema=PERSON, ends_in_time=True)),
        (
            AnswerContract("choice", ('{"a": 1}', '{"a": 2}'), (65, 66)),
            Sampling(choices=('{"a": 1}', '{"a": 2}'), codes=(65, 66), avoided=(65, 66)),
        ),
        (AnswerContract("choice", ('{"a": 1}', '{"a": 2}')), Sampling(choices=('{"a": 1}', '{"a": 2}'))),
        (AnswerContract("json", schema='{"type":"array"}'), Sampling(schema=ANY_OBJECT, ends_in_time=True)),
        (
            AnswerContract("json", schema=f'{{"anyOf":[{PERSON},{{"type":"null"}}]}}'),
            Sampling(schema=ANY_OBJECT, ends_in_time=True),
        ),
        (SPELLED, Sampling(schema=ANY_OBJECT, ends_in_time=True)),
        (AnswerContract("choice", ("1", "2")), Sampling(schema=ANY_OBJECT, ends_in_time=True)),
    ],
)
def test_any_object_is_what_the_contract_gives_where_that_are_objects(
    contract: AnswerContract, expected: Sampling
) -> None:
    asked = Sampling(schema=ANY_OBJECT)
    assert constrained(asked, contract) == Constraint(expected)
    assert not is_for_base(asked, contract)
    assert constrained(asked, contract, constrain=False).sampling.schema == ANY_OBJECT


def test_schema_of_known_labels_is_a_choice_in_its_json() -> None:
    """As clients send whose library makes a schema of a class."""
    found = constrained(_labelled("delivery", "billing"), DESKS).sampling
    assert found.choices == ('{"desk": "delivery"}', '{"desk": "billing"}')
    assert (found.codes, found.schema) == ((66, 65), "")
    written = replace(DESKS, choices=tuple(json.dumps({"desk": desk}) for desk in DESKS.choices))
    assert constrained(_labelled("delivery", "billing"), written) == constrained(
        _labelled("delivery", "billing"), DESKS
    )


@pytest.mark.parametrize("contract", [replace(DESKS, codes=()), TEXT_ANSWER, DESKS])
def test_schema_of_other_labels_is_spelled(contract: AnswerContract) -> None:
    asked = _labelled("delivery", "tech" if contract.codes else "billing")
    expected = replace(asked, avoided=contract.codes, ends_in_time=True)
    assert constrained(asked, contract).sampling == expected


def test_call_is_chosen_by_code_or_by_its_beginning() -> None:
    coded = constrained(Sampling(), CALLS)
    assert (coded.sampling.choices, coded.sampling.codes) == (("find", "stop", "none"), CALLS.codes)
    assert coded.calls is not None
    assert [function.name for function in coded.calls.functions.values()] == ["find", "stop"]
    spelled = constrained(Sampling(), replace(CALLS, codes=()))
    assert spelled.sampling.choices == ('{"name": "find", "arguments":', '{"name": "stop", "arguments":', "none")
    assert spelled.calls is not None
    assert [spelled.calls.functions.get(choice) for choice in spelled.sampling.choices] == [*CALLS.functions, None]


@pytest.mark.parametrize(
    ("use", "options"),
    [
        (ToolUse("required"), ("find", "stop")),
        (ToolUse("required", has_result=True), ("find", "stop")),
        (ToolUse("required", "stop"), ("stop",)),
        (ToolUse(tools=CALLS.functions[::-1]), ("find", "stop", "none")),
        (ToolUse("none"), ()),
        (ToolUse(has_result=True), ()),
    ],
)
def test_request_says_whether_to_call(use: ToolUse, options: tuple[str, ...]) -> None:
    """Text is written without the codes, which the LoRA makes likely."""
    found = constrained(Sampling(), CALLS, use=use)
    assert found.sampling.choices == options
    assert found.sampling.avoided == CALLS.codes
    assert (found.calls is not None) == bool(options)
    assert not found.shows_tools


def test_own_form_goes_before_a_call() -> None:
    found = constrained(Sampling(choices=("stop", "find")), CALLS)
    assert (found.sampling.codes, found.calls) == (CALLS.codes[1::-1], None)
    assert constrained(Sampling(schema='{"type":"null"}'), CALLS).calls is None


BROUGHT = (Function("find"), Function("other"))


@pytest.mark.parametrize("contract", [TEXT_ANSWER, DESKS, CALLS])
@pytest.mark.parametrize(
    ("use", "names", "is_optional"),
    [
        (ToolUse(tools=BROUGHT), ["find", "other"], True),
        (ToolUse(tools=BROUGHT, has_result=True), ["find", "other"], True),
        (ToolUse("required", tools=BROUGHT), ["find", "other"], False),
        (ToolUse("required", "other", BROUGHT), ["other"], False),
    ],
)
@pytest.mark.parametrize("constrain", [True, False])
def test_tools_that_a_request_brings_go_before_the_contract(
    contract: AnswerContract, use: ToolUse, names: list[str], is_optional: bool, constrain: bool
) -> None:
    """Codes stay out of the answer, and so does what stands for no call."""
    found = constrained(Sampling(), contract, constrain, use)
    assert found.shows_tools
    assert found.sampling == Sampling(avoided=contract.codes if constrain else ())
    calls = found.calls
    assert calls is not None
    assert (list(calls.functions), calls.are_optional, calls.are_brought) == (names, is_optional, True)
    assert calls.are_constrained == constrain


@pytest.mark.parametrize(
    ("use", "options", "codes"),
    [
        (ToolUse(tools=CALLS.functions[1:]), ("stop", "none"), (66, 67)),
        (ToolUse(tools=CALLS.functions[::-1]), ("find", "stop", "none"), (65, 66, 67)),
        (ToolUse("required", tools=CALLS.functions[:1]), ("find",), (65,)),
    ],
)
def test_some_of_a_specializations_tools_are_the_only_ones_it_calls(
    use: ToolUse, options: tuple[str, ...], codes: tuple[int, ...]
) -> None:
    """They are in its weights already, so that they are not shown again."""
    found = constrained(Sampling(), CALLS, use=use)
    assert (found.sampling.choices, found.sampling.codes, found.shows_tools) == (options, codes, False)
    with pytest.raises(InvalidRequestError, match="the function find"):
        constrained(Sampling(), CALLS, use=ToolUse("required", "find", CALLS.functions[1:]))


def test_brought_tools_are_not_shown_where_no_call_is_wanted() -> None:
    found = constrained(Sampling(), CALLS, use=ToolUse("none", tools=BROUGHT))
    assert (found.calls, found.shows_tools, found.sampling.avoided) == (None, False, CALLS.codes)


def test_own_form_of_an_answer_goes_before_brought_tools() -> None:
    found = constrained(Sampling(schema='{"type":"null"}'), DESKS, use=ToolUse(tools=BROUGHT))
    assert (found.calls, found.shows_tools, found.sampling.schema) == (None, True, '{"type":"null"}')


@pytest.mark.parametrize(
    ("contract", "use", "most"),
    [
        (CALLS, ToolUse(), 1),
        (replace(CALLS, parallel=True), ToolUse(), MAX_PARALLEL_CALLS),
        (replace(CALLS, parallel=True, codes=()), ToolUse(), MAX_PARALLEL_CALLS),
        (replace(CALLS, parallel=True), ToolUse(parallel=False), 1),
        (TEXT_ANSWER, ToolUse(tools=BROUGHT), MAX_PARALLEL_CALLS),
        (TEXT_ANSWER, ToolUse(tools=BROUGHT, parallel=False), 1),
    ],
)
def test_several_calls_need_both_sides(contract: AnswerContract, use: ToolUse, most: int) -> None:
    calls = constrained(Sampling(), contract, use=use).calls
    assert calls is not None
    assert calls.most == most


@pytest.mark.parametrize("contract", [TEXT_ANSWER, DESKS, CALLS])
@pytest.mark.parametrize("use", [ToolUse("required", "other"), ToolUse("required", "other", (Function("find"),))])
def test_function_that_is_not_there_is_refused_by_name(contract: AnswerContract, use: ToolUse) -> None:
    with pytest.raises(InvalidRequestError, match="'tool_choice'") as caught:
        constrained(Sampling(), contract, use=use)
    assert caught.value.code == "unsupported_parameter"


def test_call_cannot_be_demanded_of_a_model_without_functions() -> None:
    for constrain, contract in ((True, DESKS), (False, CALLS)):
        with pytest.raises(InvalidRequestError, match="'tool_choice'"):
            constrained(Sampling(), contract, constrain, ToolUse("required"))


OTHER = Function("other")
SCHEMA = Sampling(schema='{"type":"string"}')


@pytest.mark.parametrize(
    ("contract", "asked", "use", "expected"),
    [
        (CALLS, Sampling(), ToolUse(), False),
        (CALLS, Sampling(), ToolUse(tools=CALLS.functions), False),
        (CALLS, Sampling(), ToolUse(has_result=True), True),
        (CALLS, Sampling(), ToolUse(tools=CALLS.functions, has_result=True), True),
        (CALLS, Sampling(), ToolUse("required", has_result=True), False),
        (CALLS, Sampling(), ToolUse("none"), True),
        (CALLS, Sampling(), ToolUse(tools=(OTHER,)), True),
        (CALLS, Sampling(), ToolUse("none", tools=(OTHER,)), True),
        (CALLS, SCHEMA, ToolUse(), False),
        (CALLS, SCHEMA, ToolUse(has_result=True), False),
        (CALLS, SCHEMA, ToolUse(tools=(OTHER,)), True),
        (CALLS, Sampling(choices=("a", "b")), ToolUse(), False),
        (DESKS, Sampling(), ToolUse(), False),
        (DESKS, Sampling(choices=("billing",)), ToolUse(), False),
        (DESKS, Sampling(choices=("billing", "tech")), ToolUse(), False),
        (DESKS, _labelled("delivery", "billing"), ToolUse(), False),
        (DESKS, SCHEMA, ToolUse(), True),
        (SPELLED, SCHEMA, ToolUse(), False),
        (replace(CALLS, codes=()), Sampling(), ToolUse(has_result=True), False),
        (TEXT_ANSWER, Sampling(), ToolUse(has_result=True), False),
    ],
)
def test_what_weights_of_codes_cannot_write_is_for_the_base(
    contract: AnswerContract, asked: Sampling, use: ToolUse, expected: bool
) -> None:
    assert is_for_base(asked, contract, use=use) is expected
    assert is_for_base(asked, contract, constrain=False, use=use) is False
