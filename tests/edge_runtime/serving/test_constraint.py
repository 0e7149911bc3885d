"""What an answer is constrained to."""

import pytest

from edge_runtime.serving.constraint import constrained
from edge_runtime.serving.engine import Sampling
from loragen.contract.answer import TEXT_ANSWER, AnswerContract
from tests.edge_runtime.contracts import DESKS, SPELLED


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
    assert found == Sampling(temperature=0.5, seed=1, choices=choices, codes=codes)


@pytest.mark.parametrize("contract", [TEXT_ANSWER, SPELLED, DESKS])
def test_request_that_wants_no_contract_has_its_own_choices_alone(contract: AnswerContract) -> None:
    assert constrained(Sampling(), contract, constrain=False) == Sampling()
    own = Sampling(choices=("billing", "delivery"))
    assert constrained(own, contract, constrain=False) == own
