"""What a sentence says of one of the labels that it names."""

import pytest

from cloud_service.answer.choices import describe_choices
from cloud_service.answer.label_meanings import meaning_within
from cloud_service.task import TaskDescription


@pytest.mark.parametrize(
    ("sentence", "meanings"),
    [
        (
            "L1 means a nuisance, L2 means a loss, and L3 means danger.",
            {"L1": "a nuisance", "L2": "a loss", "L3": "danger"},
        ),
        ("Answer A for agree, B for disagree.", {"A": "agree", "B": "disagree"}),
        ("Say UP if it rose, DOWN if it fell and FLAT otherwise.", {"UP": "it rose", "DOWN": "it fell", "FLAT": ""}),
        ("If it is wet write umbrella, if it is dry write hat.", {"umbrella": "it is wet", "hat": "it is dry"}),
        ("The tooth is healthy (H), filled (F) or missing (M).", {"H": "healthy", "F": "filled", "M": "missing"}),
        ("From 1 (cold) to 3 (hot), how warm is it?", {"1": "cold", "2": "", "3": "hot"}),
        ("0 = never, 1 = often", {"0": "never", "1": "often"}),
        ("Labels: spam, ham, other.", {"spam": "", "ham": "", "other": ""}),
        ("Early or late: the train that is named.", {"Early": "", "late": ""}),
    ],
)
def test_sentence_explains_each_label(sentence: str, meanings: dict[str, str]) -> None:
    labels = tuple(meanings)
    assert {label: meaning_within(sentence, label, labels) for label in labels} == meanings


def test_codes_are_described_by_what_they_stand_for() -> None:
    task = TaskDescription("Sort the egg: W stands for whole, C stands for cracked. Give the letter.")
    assert [choice.meaning for choice in describe_choices(task, ("W", "C"))] == ["whole", "cracked"]


@pytest.mark.parametrize(
    ("description", "meanings"),
    [
        ("Tag it.\n- ui: it looks wrong\n- speed: it is slow", ["ui: it looks wrong", "speed: it is slow"]),
        ("Tag it.\n| ui | it looks wrong |\n| speed | it is slow |", ["ui: it looks wrong", "speed: it is slow"]),
        ("Use ui when it looks wrong. Tag it.", ["ui: Use ui when it looks wrong.", "speed"]),
    ],
)
def test_word_keeps_its_name_before_what_a_line_says_of_it(description: str, meanings: list[str]) -> None:
    described = describe_choices(TaskDescription(description), ("ui", "speed"))
    assert [choice.meaning for choice in described] == meanings


def test_sentence_of_very_many_labels_is_a_list() -> None:
    labels = [f"L{number}" for number in range(20)]
    assert meaning_within(", ".join(f"{label} means {label.lower()}" for label in labels), "L1", labels) == ""
