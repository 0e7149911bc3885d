"""The made-up data folder with what only the suites read: reasoning sets, and labelled sets that no family draws."""

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud_service.task import Tool
from tests.training.packed import texts_of, write_records
from training.data.corpus import SPLITS, Split, read_records
from training.data.families.tools import KnownTool, split_of_tool
from training.evaluation.suites import Suite, SuiteSizes, load_suites
from training.evaluation.suites.reasoning import SETS

SIZES = SuiteSizes(tasks=6, inputs=4, reasoning_inputs=5)


@pytest.fixture(scope="session")
def suite_data(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for `--data`."""
    folder = tmp_path_factory.mktemp("suite-data")
    shutil.copytree(data, folder, dirs_exist_ok=True)
    tasks = folder / "tasks/described_tasks.jsonl.zst"
    write_records(tasks, [*read_records(tasks), *_labelled(), _published("task1508_wordnet_antonyms")])
    definitions = folder / "tools/definitions.jsonl.zst"
    write_records(definitions, [*read_records(definitions), *_described()])
    for name in {name for known in SETS.values() for name in (known.train, known.test)}:
        records = [{"q": f"{name} {n}?", "choices": [f"yes {n}", f"no {n}"], "label": n % 2} for n in range(40)]
        write_records(folder / f"reasoning/{name}.jsonl.zst", records)
    return folder


@pytest.fixture(scope="session")
def suites(suite_data: Path) -> dict[str, Suite]:
    """Every suite of the test split, by name."""
    return {suite.name: suite for suite in load_suites(suite_data, "test", SIZES)}


def _described() -> Iterator[dict[str, Any]]:
    """Four tools without real requests for each of the two splits that hold unseen tools."""
    for split in SPLITS[1:]:
        names = (name for name in map("getThing{}".format, itertools.count()) if _split_of_tool(name) == split)
        for name in itertools.islice(names, 4):
            description = f"Retrieve the thing {name[8:]} for a given city."
            tool = {"tool": name, "description": description, "parameters": {}}
            yield {"source": "seal-tools", "domain": "Data/Open", **tool}


def _split_of_tool(name: str) -> Split:
    return split_of_tool(KnownTool(Tool(name, ""), ""), frozenset())


def _labelled() -> list[dict[str, Any]]:
    records = []
    for task, labels in (("classify_QQP", ["False", "True"]), ("classify_MNLI", ["neutral", "entailment"])):
        instances = [
            {"input": text, "outputs": [labels[n % 2]]}
            for split in SPLITS
            for n, text in enumerate(texts_of(split, 12, lambda number, task=task: f"{task} pair {number}"))
        ]
        records.append({"task": task, "descriptions": ["Label it."], "instances": instances})
    return records


def _published(name: str) -> dict[str, Any]:
    instances = [
        {"input": text, "outputs": [f"not {json.dumps(text[-2:])}"]}
        for split, count in zip(SPLITS, (50, 8, 8), strict=True)
        for text in texts_of(split, count, lambda number: f"word {number}")
    ]
    return {"task": name, "descriptions": ["Give the opposite.", "Say the opposite."], "instances": instances}
