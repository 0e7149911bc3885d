"""Rewriting by a rule, and misspellings."""

import random

from training.data.corpus import SPLITS, Split
from training.data.families.rewriting import _RULES, TEMPLATES, Rewriting, RuleParameters, misspell

TEXTS: dict[Split, list[str]] = {
    split: ["we don't like the old theatre", "take the car to the lake"] for split in SPLITS
}


def test_rules_do_what_they_are_called() -> None:
    parameters = RuleParameters("the", "cat", "*", 2, ("<", ">"))
    results = {name: rule("I'm by the theatre", parameters) for name, rule in _RULES.items()}
    assert results == {
        "replace": "I'm by cat theatre",
        "delete": "I'm by theatre",
        "append": "I'm by the theatre*",
        "join": "I'm*by*the*theatre",
        "first_words": "I'm by",
        "last_words": "the theatre",
        "word_number": "by",
        "enclose": "<I'm by the theatre>",
        "contractions": "i am by the theatre",
        "prepend": "cat I'm by the theatre",
    }
    assert _RULES["word_number"]("one", parameters) == "none"
    assert set(TEMPLATES.rules) == set(_RULES)


def test_every_rule_is_drawn_and_described_with_its_parameters() -> None:
    drawn = set()
    for number in range(300):
        episode = Rewriting(TEXTS).draw(random.Random(number), "train", 2)
        drawn.add(episode.name.split("/")[1])
        assert "{old}" not in episode.task.description
    assert drawn == {*_RULES, "spelling"}


def test_misspelled_text_differs_in_its_longer_words() -> None:
    changed = 0
    for number in range(50):
        text = misspell(random.Random(number), "go to the theatre now")
        assert [text.split()[n] for n in (0, 1, 2, 4)] == ["go", "to", "the", "now"]
        changed += text.split()[3] != "theatre"
    assert changed > 40
