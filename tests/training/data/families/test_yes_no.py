"""Yes/no questions."""

import random

from training.data.corpus import SPLITS, Split
from training.data.families.classify import LabelledTexts, TextKind
from training.data.families.yes_no import TEMPLATES, YesNoQuestions


def family() -> YesNoQuestions:
    texts: dict[Split, list[tuple[str, int]]] = {
        split: [(f"{split} {n}", n % 2) for n in range(12)] for split in SPLITS
    }
    kind = TextKind(("text",), ("tone",), (("bad", "good"),))
    return YesNoQuestions([LabelledTexts("sst2", kind, texts), LabelledTexts("without facts", kind, texts)])


def test_not_turns_the_answers_around() -> None:
    """Which answer a text gets follows from the words of the description alone."""
    seen = set()
    for number in range(200):
        episode = family().draw(random.Random(number), "train", 6)
        text = episode.task.description
        yes, no = episode.labels
        asked = next(n for n, facts in enumerate(TEMPLATES.facts["sst2"]) if any(fact in text for fact in facts))
        filled = [
            template.format(noun="text", fact=fact, yes=yes, no=no)
            for template in TEMPLATES.turned
            for fact in TEMPLATES.facts["sst2"][asked]
        ]
        turned = text in filled
        seen.add((asked, turned))
        for instance in episode.instances:
            is_asked = int(instance.input.split()[-1]) % 2 == asked
            assert instance.output == (yes if is_asked != turned else no)
    assert seen == {(0, False), (0, True), (1, False), (1, True)}


def test_facts_are_named_for_every_class_and_answers_differ() -> None:
    assert {name: len(facts) for name, facts in TEMPLATES.facts.items()} == {
        "agnews": 4,
        "sst2": 2,
        "reviews": 2,
        "phrases": 2,
        "domains": 8,
    }
    assert all(yes != no for yes, no in TEMPLATES.answers)
