"""Classification under renamed labels."""

import random
import re
from pathlib import Path

from training.data.corpus import SPLITS
from training.data.families.classify import Classification, LabelledTexts, TextKind, load_data_sets


def test_classification_keeps_the_meaning_of_renamed_labels() -> None:
    """Whatever the labels are called, texts of one class get one answer, which the description names."""
    texts = {split: [(f"{split} {n}", n % 2) for n in range(12)] for split in SPLITS}
    data = LabelledTexts("toy", TextKind(("text",), ("tone",), (("bad", "good"), ("NEG", "POS"))), texts)
    relabelled = 0
    for number in range(60):
        episode = Classification([data]).draw(random.Random(number), "train", 8)
        answers = {(int(i.input.split()[-1]) % 2, i.output) for i in episode.instances}
        answers |= {(int(e.input.split()[-1]) % 2, e.output) for e in episode.task.examples}
        assert len({label for _, label in answers}) == len({cls for cls, _ in answers}) == len(answers)
        for class_number, label in answers:
            called = [names[class_number] for names in data.kind.names]
            if not episode.task.description:  # then the examples show every label
                assert label in {e.output for e in episode.task.examples}
                continue
            assert label in episode.task.description
            if label.lower() in [name.lower() for name in called]:
                continue
            relabelled += 1  # the description says what the label stands for, in one sentence
            sentences = [s for s in re.split(r"(?<=[.;]) ", episode.task.description) if label in s]
            assert any(name in sentence for sentence in sentences for name in called)
    assert relabelled


def test_labelled_texts_are_read_with_their_classes(data: Path) -> None:
    sets = {labelled.name: labelled for labelled in load_data_sets(data)}
    assert set(sets) == {"agnews", "sst2", "reviews", "phrases", "domains"}
    assert {number for _, number in sets["agnews"].texts["train"]} == {0, 1, 2, 3}
    assert {number for _, number in sets["reviews"].texts["test"]} == {0, 1}
    assert all(text.startswith("a ") for text, _ in sets["sst2"].texts["train"]), "without the word Text:"
