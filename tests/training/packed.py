"""Helper: a small data folder in the packed format that `training.data.corpus` reads, made up on the spot.

Every family finds enough in it: tools of each kind, seen and held out; labelled texts; messages with values; published
tasks, seen and held out; prose.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import zstandard

from training.data.corpus import SPLITS, Split, split_of

DOMAINS = ("banking", "credit_cards", "home", "meta", "small_talk", "travel", "utility", "work")
CITIES = ("Paris", "Oslo", "Lima", "Rome")
TIMES = ("noon", "nine", "five", "dawn")
SEEN_TOOLS, HELD_OUT_TOOLS = 16, 5


def write_packed_data(directory: Path) -> Path:
    """Writes the folder.

    Returns:
        The folder, for `--data`.
    """
    seen = list(itertools.islice(_names("tool", seen=True, held_out=1 / 12), SEEN_TOOLS))
    held_out = list(itertools.islice(_names("tool", seen=False, held_out=1 / 12), HELD_OUT_TOOLS))
    slots: dict[str, Any] = {"city": {}, "time": {}}
    definitions = [{"source": "sgd", "tool": name, "parameters": slots} for name in seen[::2]]
    write_records(directory / "tools/definitions.jsonl.zst", [*definitions, *_described(), *_services()])
    write_records(directory / "tools/utterances.jsonl.zst", [*_clinc(seen, held_out), *_messages()])
    write_records(directory / "tasks/described_tasks.jsonl.zst", [*_labelled(), *_published()])
    write_records(directory / "tasks/t0_prompts.jsonl.zst", _questions())
    for name in ("gutenberg", "openstax_ccby"):
        paragraph = "It was a quiet evening, and nobody spoke of the harbour or of the ships.\n" * 3
        _write(directory / f"text/{name}.txt.zst", (paragraph + "\n") * 30 + "<|endofdoc|>\n" + (paragraph + "\n") * 3)
    return directory


def texts_of(split: Split, count: int, text: Callable[[int], str]) -> list[str]:
    """Texts of a split: those of the first numbers whose hash puts them there."""
    return list(itertools.islice((t for t in map(text, itertools.count()) if split_of(t) == split), count))


def _names(kind: str, seen: bool, held_out: float = 0.1) -> Iterator[str]:
    for number in itertools.count():
        name = f"{kind}_{number}"
        if (split_of(f"{kind}/{name}", held_out) == "train") == seen:
            yield name


def _questions() -> Iterator[dict[str, Any]]:
    """A question about the texts of a seen data set, and one of an unseen one."""
    for template in ("shop_tone", "ag_tone"):
        for split in SPLITS:
            for number, text in enumerate(texts_of(split, 20, "the tea was warm {}".format)):
                answer = ("good", "bad")[number % 2]
                yield {
                    "template": template,
                    "prompt": f"Does the writer like it, good or bad?\n{text}",
                    "completion": f"{answer}<|endoftext|>",
                }


def _described() -> Iterator[dict[str, Any]]:
    things = ("weather", "lunar tide", "snow depth", "stock price", "bus route", "star chart", "museum plan")
    for thing in (*things, "book trip"):
        name = "get" + "".join(word.capitalize() for word in thing.split())
        if thing == "book trip":  # the held-out tool BookTrip has a namesake here
            name = "bookTrip"
        description = f"Retrieve the {thing} for a given city."
        yield {
            "source": "seal-tools",
            "domain": "Data/Open",
            "tool": name,
            "description": description,
            "parameters": {
                "city": {"description": "The city (e.g., Oslo, Lima, Rome, Bern)", "values": []},
                "days": {"description": "How many days", "values": []},
                "precise": {"description": "Whether digits are wanted", "values": []},
            },
        }


def _services() -> Iterator[dict[str, Any]]:
    values: dict[str, list[str]] = {"city": [], "time": [], "class": ["economy", "business"]}
    for tool in ("Trips_1.FindTrip", "Trips_2.BookTrip"):
        parameters = {name: {"description": f"The {name}", "values": possible} for name, possible in values.items()}
        yield {"source": "sgd", "domain": "Trips", "tool": tool, "description": "A trip", "parameters": parameters}


def _clinc(seen: list[str], held_out: list[str]) -> Iterator[dict[str, Any]]:
    for place, tool in enumerate([*seen, *held_out]):
        for split, count in (("train", 6), ("val", 3), ("test", 3)):
            for number in range(count):
                yield {
                    "source": "clinc150",
                    "domain": DOMAINS[place % len(DOMAINS)],
                    "tool": tool,
                    "description": f"does {place}",
                    "utterance": f"please do {place} in the {split} way {number}",
                    "arguments": None,
                    "split": split,
                }


def _messages() -> Iterator[dict[str, Any]]:
    """Dialogue turns with a city and a time; the service of the test split is met nowhere else."""
    for service, tool, published in (("Trips_1", "FindTrip", "train"), ("Trips_2", "BookTrip", "test")):

        def say(number: int, service: str = service) -> str:
            return f"i want {service} to {CITIES[number % 4]} at {TIMES[number // 4 % 4]} please {number}"

        for split in SPLITS:
            for text in texts_of(split, 14, say):
                words = text.split()
                yield {
                    "source": "sgd",
                    "domain": service,
                    "tool": f"{service}.{tool}",
                    "description": "About a trip",
                    "utterance": text,
                    "arguments": {"city": words[4], "time": words[6]},
                    "split": published,
                }
    # Said to a test service, too: an input that training may have drawn.
    text = texts_of("train", 1, lambda number: f"both of us go to Rome {number}")[0]
    for service, published in (("Trips_1.FindTrip", "train"), ("Trips_2.BookTrip", "test")):
        yield {
            "source": "sgd",
            "domain": "Trips_1",
            "tool": service,
            "description": "About a trip",
            "utterance": text,
            "arguments": {"city": "Rome"},
            "split": published,
        }


def _labelled() -> Iterator[dict[str, Any]]:
    for task, labels in (
        ("classify_agnews", ("World", "Sports", "Business", "Science or Technology")),
        ("classify_SST-2", ("Bad", "Good")),
        ("classify_yelp", ("very negative", "very positive")),
        ("induction_sentiment", ("negative", "positive")),
    ):
        instances = [
            {"input": f"Text: {text}" if task.startswith("classify") else text, "outputs": [labels[n % len(labels)]]}
            for split in SPLITS
            for n, text in enumerate(texts_of(split, 12, f"a {task[9:].lower()} line {{}}".format))
        ]
        yield {"task": task, "descriptions": ["Label it."], "instances": instances}


def _published() -> Iterator[dict[str, Any]]:
    for name in [*itertools.islice(_names("task", seen=True), 3), *itertools.islice(_names("task", seen=False), 2)]:
        instances = [
            {"input": text, "outputs": [text[-1]]}
            for split, count in zip(SPLITS, (50, 6, 6), strict=True)
            for text in texts_of(split, count, f"{name} says {{}}".format)
        ]
        yield {"task": name, "descriptions": ["Give the last sign."], "instances": instances}
    yield {"task": "task_piqa_goal", "descriptions": ["Reasoning."], "instances": instances}


def write_records(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Writes a `.jsonl.zst` file."""
    _write(path, "".join(json.dumps(record) + "\n" for record in records))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zstandard.compress(text.encode()))
