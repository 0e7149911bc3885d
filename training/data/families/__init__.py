"""The task families of the nano pair, and the mixture that trains it."""

from pathlib import Path

from training.data.corpus import Split
from training.data.episodes import Mixture
from training.data.families.classify import Classification, load_data_sets
from training.data.families.described import load_described_tools
from training.data.families.extract import SlotExtraction, load_messages
from training.data.families.instructions import PublishedInstructions, is_seen, load_described_tasks
from training.data.families.tools import ToolRouting, ToolShares, is_held_out, load_test_services, load_tools
from training.data.families.transform import TextTransformation

__all__ = ["ToolShares", "load_mixture"]


def load_mixture(data: Path, shares: ToolShares | None = None) -> Mixture:
    """Every family over its seen tasks. The weights follow what a device serves: routing first."""
    shares, others = shares or ToolShares(), (0.2, 0.14, 0.16, 0.12)
    services = load_test_services(data)
    every = load_tools(data)
    tools = [known for known in every if not is_held_out(known, services)]
    held_out = {known.tool.name.lower() for known in every if is_held_out(known, services)}
    described = [known for known in load_described_tools(data) if known.tool.name.lower() not in held_out]
    texts: dict[Split, list[str]] = {
        split: [text for known in tools for text in known.utterances[split]]
        for split in ("train", "validation", "test")
    }
    return Mixture(
        name="training",
        families=(
            ToolRouting(tools, described, shares),
            Classification(load_data_sets(data)),
            SlotExtraction(load_messages(data)),
            TextTransformation(texts),
            PublishedInstructions([task for task in load_described_tasks(data) if is_seen(task)]),
        ),
        weights=(shares.episodes, *((1 - shares.episodes) * other / sum(others) for other in others)),
    )
