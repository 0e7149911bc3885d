"""Extraction of values that stand in the message."""

from pathlib import Path

from tests.training.data.families.drawing import draw
from training.data.episodes import Mixture
from training.data.families.extract import SlotExtraction, load_messages


def test_message_of_a_test_service_that_others_say_too_is_not_held_out(data: Path) -> None:
    messages = load_messages(data)
    both = [i.input for by in messages.values() for i in by["train"] if i.input.startswith("both of us")]
    assert both
    assert not {i.input for by in messages.values() for i in by["test"]} & set(both)


def test_extracted_value_stands_in_the_message(data: Path, mixture: Mixture) -> None:
    assert SlotExtraction(load_messages(data)).kinds == ["city", "time"]
    for episode in draw(mixture, "extract", "train", 40):
        for instance in episode.instances:
            assert instance.output in instance.input
