"""The registry of task families, and the mixture of them that training draws from.

A new family is a module with a class like `SlotExtraction`, its templates in a TOML file beside the module, a property
of `Sources` if it reads data that no other family reads, and a line in `FAMILIES`.
"""

from collections.abc import Callable

from training.data.episodes import Family, Mixture
from training.data.families.classify import Classification
from training.data.families.extract import SlotExtraction
from training.data.families.instructions import PublishedInstructions
from training.data.families.sources import Sources
from training.data.families.tools import ToolRouting, ToolShares
from training.data.families.transform import TextTransformation

FAMILIES: tuple[tuple[float, Callable[[Sources], Family]], ...] = (
    (0.20, lambda sources: Classification(sources.labelled_texts)),
    (0.14, lambda sources: SlotExtraction(sources.messages)),
    (0.16, lambda sources: TextTransformation(sources.utterances)),
    (0.12, lambda sources: PublishedInstructions(sources.seen_tasks)),
)
"""How often a family is drawn, against the others here, and how it is made. How often tools are, `ToolShares` says."""


def load_mixture(sources: Sources, shares: ToolShares | None = None) -> Mixture:
    """Every family over its seen tasks. The weights follow what a device serves: routing to tools first."""
    shares = shares or ToolShares()
    weights = [weight for weight, _ in FAMILIES]
    return Mixture(
        name="training",
        families=(
            ToolRouting(sources.seen_tools, sources.described_tools, shares),
            *(make(sources) for _, make in FAMILIES),
        ),
        weights=(shares.episodes, *((1 - shares.episodes) * weight / sum(weights) for weight in weights)),
    )
