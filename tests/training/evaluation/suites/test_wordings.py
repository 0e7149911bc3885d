"""Paraphrases are words that training never draws."""

from training.data.families import wording
from training.data.families.transform import TRANSFORMATIONS
from training.evaluation.suites import wordings
from training.evaluation.suites.reasoning import FILES


def test_every_transformation_has_paraphrases_of_its_own() -> None:
    assert wordings.TRANSFORM.keys() == {function.name for function in TRANSFORMATIONS}
    every = [phrase for phrases in wordings.TRANSFORM.values() for phrase in phrases]
    assert len(set(every)) == len(every)
    assert not set(every) & {phrase for function in TRANSFORMATIONS for phrase in function.wordings}


def test_templates_are_not_those_of_training() -> None:
    assert not set(wordings.CLASSIFY) & set(wording.CLASSIFY)
    assert not set(wordings.EXTRACT) & set(wording.EXTRACT)
    for phrase in wordings.CLASSIFY:
        filled = phrase.format(noun="N", aspect="A", labels="L", labels_or="L")
        assert "L" in filled
    for phrase in wordings.EXTRACT:
        assert "{slot}" in phrase


def test_every_reasoning_set_is_described_thrice() -> None:
    assert wordings.REASONING.keys() == FILES.keys()
    assert all(len(set(phrases)) == 3 for phrases in wordings.REASONING.values())
