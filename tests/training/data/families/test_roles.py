"""Parts that are asked for by their names: the value of the right one, word for word."""

import random

from cloud_service.task import Tool
from training.data.corpus import SPLITS, Split
from training.data.families.function_calls import Call, CalledFunction
from training.data.families.roles import RoleExtraction


def lending() -> CalledFunction:
    calls: dict[Split, list[Call]] = {
        split: [
            Call(f"{a} lends {b} a lamp", {"lender": a, "borrower": b})
            for a in ("Ana", "Bo", "Cy")
            for b in ("Di", "Ed")
        ]
        + [Call("Ana lends Ana a lamp for two days", {"lender": "Ana", "days": "2"})]
        for split in SPLITS
    }
    return CalledFunction(Tool("lend", "Notes a loan", ("lender", "borrower", "days")), calls)


def test_answer_is_the_part_that_the_description_names() -> None:
    family = RoleExtraction([lending()])
    asked = set()
    for number in range(40):
        episode = family.draw(random.Random(number), "validation", 3)
        text = episode.task.description.lower()
        assert ("lender" in text) != ("borrower" in text)
        assert "days" not in text  # nobody says "2"
        asked.add("lender" in text)
        for instance in episode.instances:
            lender, _, borrower, *_ = instance.input.split()
            assert instance.output == (lender if "lender" in text else borrower)
    assert asked == {True, False}
