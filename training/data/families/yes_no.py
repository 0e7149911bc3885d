"""Family: yes/no questions about a text; the description may turn the answers around.

Two descriptions that differ in one word (`not`) ask for opposite answers to the same text, so the text alone tells
nothing. The texts are those of `classify`; what is true of them comes from their classes.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cloud_service.task import Example, TaskDescription
from training.data.corpus import Split
from training.data.episodes import Episode, Instance, choose_examples
from training.data.families.classify import LabelledTexts
from training.data.templates import Templates, checked, fill, load_templates, placeholders

TURNED_SHARE = 0.5


@checked
@dataclass(frozen=True, slots=True)
class YesNoTemplates:
    """What `yes_no.toml` holds.

    Attributes:
        asks: Questions.
        turned: The same, with the answers turned around.
        answers: Pairs of what stands for yes and for no.
        facts: By data set, ways to say that a text is of a class, in the order of the class numbers.
    """

    asks: Annotated[Templates, placeholders("noun", "fact", "yes", "no")]
    turned: Annotated[Templates, placeholders("noun", "fact", "yes", "no")]
    answers: tuple[tuple[str, str], ...]
    facts: dict[str, tuple[Templates, ...]]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), YesNoTemplates)


class YesNoQuestions:
    """Draws a data set, one of its classes and a way to ask for it, straight or turned around."""

    name = "yes_no"

    def __init__(self, data_sets: Sequence[LabelledTexts]) -> None:
        self._data_sets = [data for data in data_sets if data.name in TEMPLATES.facts]

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode; half of the texts are of the class."""
        data = rng.choice(self._data_sets)
        facts = TEMPLATES.facts[data.name]
        asked = rng.randrange(len(facts))
        yes, no = rng.choice(TEMPLATES.answers)
        turned = rng.random() < TURNED_SHARE
        instances: list[Instance] = []
        while len(instances) < inputs + 4:
            text, number = rng.choice(data.texts[split])
            if (number == asked) == (len(instances) % 2 == 0):
                instances.append(Instance(text, yes if (number == asked) != turned else no))
        rng.shuffle(instances)
        examples, taken = choose_examples(rng, instances, inputs, split)
        description = fill(
            rng,
            TEMPLATES.turned if turned else TEMPLATES.asks,
            noun=rng.choice(data.kind.nouns),
            fact=rng.choice(facts[asked]),
            yes=yes,
            no=no,
        )
        task = TaskDescription(description, tuple(Example(e.input, e.output) for e in examples))
        return Episode(f"{self.name}/{data.name}", task, tuple(instances[taken : taken + inputs]), (yes, no))
