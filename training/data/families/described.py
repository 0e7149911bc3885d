"""Tools that only their descriptions are known of, with requests made from these: thousands of names to read.

Source: Seal-Tools (Apache-2.0). The requests are of this project's own making; a description such as "Retrieve the
weather of a city" gives "can you look up the weather of a city".
"""

import random
import re
from pathlib import Path

from cloud_service.task import Tool
from training.data.corpus import SPLITS, Split, read_records
from training.data.families import wording
from training.data.families.tools import LONGEST_DESCRIPTION, KnownTool

VERBS: dict[str, tuple[str, ...]] = {
    "retrieve": ("get", "find", "look up", "show me", "give me", "tell me", "see", "fetch", "check"),
    "get": ("get", "find", "look up", "show me", "see", "check"),
    "find": ("find", "look for", "search for", "locate"),
    "search": ("search", "look", "browse"),
    "calculate": ("calculate", "work out", "compute", "figure out", "know"),
    "generate": ("generate", "make", "create", "produce", "come up with"),
    "create": ("create", "make", "set up", "build", "start"),
    "update": ("update", "change", "edit", "correct", "modify"),
    "add": ("add", "put in", "include", "insert"),
    "record": ("record", "log", "write down", "note", "save"),
    "analyze": ("analyze", "look into", "examine", "go through", "understand"),
    "check": ("check", "verify", "look at", "see about"),
    "perform": ("perform", "do", "run", "carry out"),
    "book": ("book", "reserve", "arrange"),
    "schedule": ("schedule", "plan", "arrange", "set a time for"),
    "submit": ("submit", "send in", "file", "hand in"),
    "send": ("send", "mail", "pass on"),
    "delete": ("delete", "remove", "get rid of", "erase"),
    "remove": ("remove", "delete", "take out"),
    "convert": ("convert", "turn", "change"),
    "evaluate": ("evaluate", "rate", "judge", "assess"),
    "estimate": ("estimate", "guess", "get a rough idea of"),
    "predict": ("predict", "forecast", "foresee"),
    "identify": ("identify", "recognize", "name"),
    "optimize": ("optimize", "improve", "make the most of"),
    "design": ("design", "sketch", "draw up"),
    "track": ("track", "follow", "keep an eye on"),
    "monitor": ("monitor", "watch", "keep track of"),
    "translate": ("translate", "put into another language"),
    "assess": ("assess", "evaluate", "judge"),
    "determine": ("determine", "find out", "decide"),
    "simulate": ("simulate", "model", "try out"),
    "validate": ("validate", "check", "confirm"),
    "set": ("set", "fix", "choose"),
}
REQUESTS = (
    "{wish}",
    "please {wish}",
    "can you {wish}",
    "could you {wish} for me?",
    "I want to {wish}.",
    "i need to {wish}",
    "I'd like to {wish}",
    "help me {wish}",
    "how do i {wish}",
    "Is there a way to {wish}?",
    "{wish}, please",
    "hey, {wish} now",
    "We have to {wish} today.",
    "let's {wish}",
    "I was asked to {wish}.",
    "would you {wish}?",
)
TRIES = 14
OF_SPLIT: dict[Split, slice] = {"train": slice(0, 6), "validation": slice(6, 8), "test": slice(8, 10)}


def load_described_tools(data: Path) -> list[KnownTool]:
    """Tools with nine or ten requests each; no request belongs to two tools."""
    tools = []
    drawn: set[str] = set()
    for record in read_records(data / "tools/definitions.jsonl.zst"):
        if record["source"] != "seal-tools":
            continue
        verb, _, rest = " ".join(record["description"].split()).rstrip(".").partition(" ")
        wish = verb.lower() if verb.lower() in VERBS else _infinitive(verb.lower())  # "Calculates the sum"
        if not rest or len(rest) > LONGEST_DESCRIPTION:
            continue
        rng = random.Random(f"described/{record['tool']}")
        requests: dict[str, None] = {}
        for _ in range(TRIES):
            said = rng.choice(VERBS.get(wish, (wish,)))
            requests[wording.choose(rng, REQUESTS, wish=f"{said} {_as_said(rng, rest)}")] = None
        new = [request for request in requests if request not in drawn]
        if any(not new[OF_SPLIT[split]] for split in SPLITS):
            continue
        drawn.update(new)
        tool = Tool(record["tool"], f"{verb} {rest}", tuple(record["parameters"])[:5])
        known = KnownTool(tool, f"seal/{record['domain'].split('/')[0]}")
        known.utterances.update({split: new[part] for split, part in OF_SPLIT.items()})
        tools.append(known)
    return tools


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
