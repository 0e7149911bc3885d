"""What an answer is constrained to."""

from dataclasses import replace

import pytest

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.constraint import Constraint, ToolUse, constrained
from edge_runtime.serving.engine import Sampling
from loragen.contract.answer import TEXT_ANSWER, AnswerContract, Function
from tests.edge_runtime.contracts import CALLS, DESKS, SPELLED


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


def test_call_is_chosen_by_code_or_by_its_beginning() -> None:
    coded = constrained(Sampling(), CALLS)
    assert (coded.sampling.choices, coded.sampling.codes) == (("find", "stop", "none"), CALLS.codes)
    assert [function.name for function in coded.functions.values()] == ["find", "stop"]
    spelled = constrained(Sampling(), replace(CALLS, codes=()))
    assert spelled.sampling.choices == ('{"name": "find", "arguments":', '{"name": "stop", "arguments":', "none")
    assert [spelled.functions.get(choice) for choice in spelled.sampling.choices] == [*CALLS.functions, None]


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
    assert bool(found.functions) == bool(options)


def test_own_form_goes_before_a_call() -> None:
    found = constrained(Sampling(choices=("stop", "find")), CALLS)
    assert (found.sampling.codes, found.functions) == (CALLS.codes[1::-1], {})
    assert constrained(Sampling(schema='{"type":"null"}'), CALLS).functions == {}


@pytest.mark.parametrize("contract", [TEXT_ANSWER, DESKS, CALLS])
@pytest.mark.parametrize(
    "use", [ToolUse("required", "other"), ToolUse(tools=(Function("find"),)), ToolUse("none", tools=(Function("x"),))]
)
def test_functions_that_the_model_does_not_have_are_refused_by_name(contract: AnswerContract, use: ToolUse) -> None:
    with pytest.raises(InvalidRequestError, match=r"'tools'|'tool_choice'") as caught:
        constrained(Sampling(), contract, use=use)
    assert caught.value.code == "unsupported_parameter"


def test_call_cannot_be_demanded_of_a_model_without_functions() -> None:
    for constrain, contract in ((True, DESKS), (False, CALLS)):
        with pytest.raises(InvalidRequestError, match="'tool_choice'"):
            constrained(Sampling(), contract, constrain, ToolUse("required"))
