"""What the memory learns from: families of tasks by weight, tools first.

The weights differ from those of `load_mixture`, which other configurations draw from.
"""

from training.data.episodes import Family, Mixture
from training.data.families import Sources, ToolShares
from training.data.families.classify import Classification
from training.data.families.extract import SlotExtraction
from training.data.families.instructions import PublishedInstructions
from training.data.families.tools import ToolRouting, is_held_out
from training.data.families.transform import TextTransformation

SHARES = ToolShares(renamed=0.6, described=0.4, foreign=0.0)


def load_memory_mixture(sources: Sources) -> Mixture:
    """Families over their seen tasks; described tools that hash to a held-out split are left out."""
    described = [known for known in sources.described_tools if not is_held_out(known, sources.test_services)]
    weighted: tuple[tuple[float, Family], ...] = (
        (0.50, ToolRouting(sources.seen_tools, described, SHARES)),
        (0.16, Classification(sources.labelled_texts)),
        (0.07, SlotExtraction(sources.messages)),
        (0.07, TextTransformation(sources.utterances)),
        (0.07, PublishedInstructions(sources.seen_tasks)),
    )
    return Mixture("memory", [family for _, family in weighted], [weight for weight, _ in weighted])
