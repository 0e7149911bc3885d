"""Tools that only their descriptions are known of, with requests made from these: thousands of names to read.

Source: Seal-Tools (Apache-2.0). The requests are of this project's own making; a description such as "Retrieve the
weather of a city" gives "can you look up the weather of a city".
"""

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cloud_service.task import Tool
from training.data.corpus import SPLITS, Split, read_records
from training.data.families.tools import LONGEST_DESCRIPTION, KnownTool
from training.data.templates import Templates, checked, fill, load_templates, placeholders


@checked
@dataclass(frozen=True, slots=True)
class DescribedTemplates:
    """What `described.toml` holds; `verbs` by the first word of a tool's description."""

    requests: Annotated[Templates, placeholders("wish")]
    verbs: dict[str, Templates]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), DescribedTemplates)
TRIES = 14
OF_SPLIT: dict[Split, slice] = {"train": slice(0, 6), "validation": slice(6, 8), "test": slice(8, 10)}


def load_described_tools(data: Path) -> list[KnownTool]:
    """Tools with nine or ten requests each; no request belongs to two tools."""
    tools = []
    drawn: set[str] = set()
    for record in read_records(data / "tools/definitions.jsonl.zst"):
        if record["source"] != "seal-tools":
            continue
        description = " ".join(record["description"].split()).rstrip(".")
        if " " not in description or len(description) > LONGEST_DESCRIPTION:
            continue
        rng = random.Random(f"described/{record['tool']}")
        requests: dict[str, None] = {}
        for _ in range(TRIES):
            requests[made_request(rng, description)] = None
        new = [request for request in requests if request not in drawn]
        if any(not new[OF_SPLIT[split]] for split in SPLITS):
            continue
        drawn.update(new)
        tool = Tool(record["tool"], description, tuple(record["parameters"])[:5])
        known = KnownTool(tool, f"seal/{record['domain'].split('/')[0]}")
        known.utterances.update({split: new[part] for split, part in OF_SPLIT.items()})
        tools.append(known)
    return tools


def made_request(rng: random.Random, description: str) -> str:
    """A request to a tool whose description is a verb and what follows: "please look up the weather of a city"."""
    verb, _, rest = description.partition(" ")
    wish = verb.lower() if verb.lower() in TEMPLATES.verbs else _infinitive(verb.lower())  # "Calculates the sum"
    said = rng.choice(TEMPLATES.verbs.get(wish, (wish,)))
    return fill(rng, TEMPLATES.requests, wish=f"{said} {_as_said(rng, rest)}")


def _infinitive(verb: str) -> str:
    """`calculates` as `calculate`, `matches` as `match`, `process` as it is."""
    if verb.endswith(("sses", "shes", "ches", "xes")):
        return verb[:-2]
    if verb.endswith("ies"):
        return verb[:-3] + "y"
    return verb if verb.endswith("ss") else verb.removesuffix("s")


def _as_said(rng: random.Random, text: str) -> str:
    """Now and then without what follows `for`, `based on` and the like, as people leave it out."""
    first = re.split(r" (?:based|using|with|from|for|in|including) ", text)[0]
    return first if rng.random() < 0.4 else text
