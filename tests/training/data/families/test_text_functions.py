"""Functions of a text that only the description names."""

import random

from training.data.corpus import SPLITS, Split
from training.data.families.text_functions import FUNCTIONS, TEMPLATES, TextFunctions
from training.data.families.transform import TRANSFORMATIONS
from training.data.families.word_functions import WORD_FUNCTIONS

TEXTS: dict[Split, list[str]] = {split: ["one two three four", "single"] for split in SPLITS}


def test_what_validation_asks_is_never_met_in_training() -> None:
    """In six ways or more for each function, all different, and none that `transform` has for another."""
    family = TextFunctions(TEXTS)
    drawn = {split: {family.draw(random.Random(n), split, 2).task.description for n in range(600)} for split in SPLITS}
    assert drawn["validation"] - {""} == drawn["test"] - {""} == {function.withheld for function in FUNCTIONS}
    assert not drawn["train"] & {function.withheld for function in FUNCTIONS}
    asks = [ask for function in FUNCTIONS for ask in (*function.asks, function.withheld)]
    assert len(set(asks)) == len(asks)
    assert not set(asks) & {ask for function in TRANSFORMATIONS for ask in (*function.asks, function.withheld)}
    assert all(len(function.asks) >= 5 for function in FUNCTIONS)
    assert len(FUNCTIONS) == len(TEMPLATES.asks) + len(WORD_FUNCTIONS) >= 50


def test_tables_are_large_enough_to_need_the_description() -> None:
    for table in TEMPLATES.lookups.values():
        assert len(dict(table)) == len(table) >= 30
    assert len(set(TEMPLATES.nouns)) == len(TEMPLATES.nouns) >= 30
    assert len(set(TEMPLATES.names)) == len(TEMPLATES.names) >= 30


def test_made_inputs_have_their_answers() -> None:
    """What is asked of lists, names, facts and questions."""
    made = {f.name: f.make(random.Random(2), "you can go") for f in FUNCTIONS}
    items = made["bullets"].input.split(", ")
    assert made["bullets"].output == "\n".join(f"- {item}" for item in items)
    assert made["item_count"].output == str(len(made["item_count"].input.split(", ")))
    assert made["first_item"].input.startswith(made["first_item"].output + ",")
    *first, last = made["joined_and"].input.split(", ")
    assert made["joined_and"].output == f"{', '.join(first)} and {last}"
    assert made["greeting"].output == f"Hello, {made['greeting'].input}!"
    key, value = made["fact"].output.split(": ")
    assert key in made["fact"].input
    assert value in made["fact"].input
    assert (made["question"].output == "yes") == made["question"].input.endswith("?")
    assert made["plural"].output.startswith(made["plural"].input[:-1])
    assert made["singular"].input.startswith(made["singular"].output[:-1])


def test_closed_functions_name_their_answers() -> None:
    assert {f.name: f.labels for f in FUNCTIONS if f.labels} == {
        "question": ("yes", "no"),
        "kind": ("animal", "fruit", "tool", "vehicle", "furniture"),
    }
