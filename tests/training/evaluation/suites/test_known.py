"""Paraphrases are words that training never draws."""

from training.data.families import classify, extract
from training.data.families.transform import TRANSFORMATIONS
from training.evaluation.suites.known import PARAPHRASES


def test_every_transformation_has_paraphrases_of_its_own() -> None:
    assert PARAPHRASES.transform.keys() == {function.name for function in TRANSFORMATIONS}
    every = [phrase for phrases in PARAPHRASES.transform.values() for phrase in phrases]
    assert len(set(every)) == len(every)
    assert not set(every) & {phrase for function in TRANSFORMATIONS for phrase in (*function.asks, function.withheld)}


def test_templates_are_not_those_of_training() -> None:
    assert not set(PARAPHRASES.classify) & set(classify.TEMPLATES.asks)
    assert not set(PARAPHRASES.extract) & set(extract.TEMPLATES.asks)
    for phrase in PARAPHRASES.classify:
        filled = phrase.format(noun="N", aspect="A", labels="L", labels_or="L")
        assert "L" in filled
    for phrase in PARAPHRASES.extract:
        assert "{slot}" in phrase
