"""The registry of task families, and the mixture of them that training draws from.

A new family is a module with a class like `SlotExtraction`, its templates in a TOML file beside the module, a property
of `Sources` if it reads data that no other family reads, and a line in `FAMILIES`.
"""

import difflib
import math
from collections.abc import Callable, Mapping

from training.data.episodes import Family, Mixture
from training.data.families.classify import Classification
from training.data.families.extract import SlotExtraction
from training.data.families.function_calls import FunctionCalls
from training.data.families.instructions import PublishedInstructions
from training.data.families.json_fields import JsonFields
from training.data.families.label_tasks import LabelTasks
from training.data.families.length_classes import LengthClasses
from training.data.families.normalization import Normalization
from training.data.families.questions import Questions
from training.data.families.rewriting import Rewriting
from training.data.families.roles import RoleExtraction
from training.data.families.sentence_tasks import SentenceTasks
from training.data.families.short_tasks import ShortTasks
from training.data.families.sources import Sources
from training.data.families.text_functions import TextFunctions
from training.data.families.tools import ToolRouting, ToolShares
from training.data.families.transform import TextTransformation
from training.data.families.yes_no import YesNoQuestions

FAMILIES: Mapping[str, Callable[[Sources, ToolShares], Family]] = {
    "tools": lambda sources, shares: ToolRouting(sources.seen_tools, sources.described_tools, shares),
    "classify": lambda sources, _: Classification(sources.labelled_texts),
    "extract": lambda sources, _: SlotExtraction(sources.messages),
    "transform": lambda sources, _: TextTransformation(sources.utterances),
    "instructions": lambda sources, _: PublishedInstructions(sources.seen_tasks),
    "function_calls": lambda sources, _: FunctionCalls(sources.seen_functions, sources.bystanders),
    "json_fields": lambda sources, _: JsonFields([*sources.seen_functions, *sources.app_functions]),
    "yes_no": lambda sources, _: YesNoQuestions(sources.labelled_texts),
    "length_classes": lambda sources, _: LengthClasses(sources.utterances),
    "normalization": lambda sources, _: Normalization(),
    "rewriting": lambda sources, _: Rewriting(sources.utterances),
    "questions": lambda sources, _: Questions(sources.seen_questions),
    "text_functions": lambda sources, _: TextFunctions(sources.utterances),
    "roles": lambda sources, _: RoleExtraction(sources.app_functions),
    "label_tasks": lambda sources, _: LabelTasks(),
    "short_tasks": lambda sources, _: ShortTasks(),
    "sentence_tasks": lambda sources, _: SentenceTasks(),
}
"""How each family is made. The order decides what a seed draws."""

USUAL_WEIGHTS: Mapping[str, float] = {"classify": 0.20, "extract": 0.14, "transform": 0.16, "instructions": 0.12}
"""How often families are drawn, against each other, where no weights are given; how often tools, `ToolShares` says."""


def load_mixture(
    sources: Sources, shares: ToolShares | None = None, weights: Mapping[str, float] | None = None
) -> Mixture:
    """Families over their seen tasks.

    Args:
        sources: What they draw from.
        shares: How tools are drawn; and how often, where no weights are given.
        weights: How often each family is drawn, by its name; those without one are left out. None, or none given, for
            the usual ones, which follow what a device serves: routing to tools first.

    Raises:
        FamilyWeightError: A name is unknown, or a weight is not one.
    """
    shares = shares or ToolShares()
    if weights:
        verify_weights(weights)
        chosen = {name: weights[name] for name in FAMILIES if weights.get(name)}
    else:
        total = sum(USUAL_WEIGHTS.values())
        others = {name: (1 - shares.episodes) * weight / total for name, weight in USUAL_WEIGHTS.items()}
        chosen = {"tools": shares.episodes, **others}
    return Mixture(
        name="training",
        families=tuple(FAMILIES[name](sources, shares) for name in chosen),
        weights=tuple(chosen.values()),
    )


class FamilyWeightError(ValueError):
    """Weights of families of which one is unknown, or not a weight."""


def verify_weights(weights: Mapping[str, float]) -> None:
    """Checks weights by family name; an empty mapping stands for the usual mixture.

    Raises:
        FamilyWeightError: A name is unknown, a weight is negative or not finite, or all of them are zero.
    """
    for name, weight in weights.items():
        if name not in FAMILIES:
            (nearest,) = difflib.get_close_matches(name, FAMILIES, n=1, cutoff=0.0)
            raise FamilyWeightError(f"there is no family {name}, the nearest name is {nearest}")
        if not (math.isfinite(weight) and weight >= 0):
            raise FamilyWeightError(f"the weight of the family {name} is {weight}, expected a number of at least 0")
    if weights and not any(weights.values()):
        raise FamilyWeightError("the weights of all families are 0, expected one above it")
