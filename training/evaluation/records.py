"""What was answered, on disk: one file for each task, so that a second evaluation goes on where the first ended.

A file's name follows from everything that decides its answers, apart from pair and split, which name its folder. Scores
are computed from it anew each time.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from loragen.contract.atomic import write_atomic
from training.evaluation.suites import SuiteTask


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to the inputs of a task.

    Attributes:
        texts: One for each input; empty where the service refused.
        seconds: What each answer took, by the client's clock; the first one had to read its whole prompt.
        tokens: Of each prompt, as the device counts them.
    """

    texts: tuple[str, ...]
    seconds: tuple[float, ...]
    tokens: tuple[int, ...]


class Records:
    """The answers of one pair on one split.

    Args:
        folder: Made when something is stored.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, suite: str, task: SuiteTask) -> dict[str, Answers]:
        """Answers by column; empty when there are none."""
        path = self._path(suite, task)
        if not path.exists():
            return {}
        columns = json.loads(path.read_text(encoding="utf-8"))["columns"]
        return {
            name: Answers(tuple(found["texts"]), tuple(found["seconds"]), tuple(found["tokens"]))
            for name, found in columns.items()
        }

    def store(self, suite: str, task: SuiteTask, columns: Mapping[str, Answers]) -> None:
        """Writes a task's answers, with what was asked and expected, for people to read."""
        path = self._path(suite, task)
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "task": task.name,
            "inputs": [instance.input for instance in task.instances],
            "expected": [instance.output for instance in task.instances],
            "columns": {name: asdict(answers) for name, answers in columns.items()},
        }
        write_atomic(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())

    def _path(self, suite: str, task: SuiteTask) -> Path:
        decided = [asdict(task.description), [asdict(each) for each in task.instances], task.choices, task.metric]
        digest = hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()
        return self._folder / suite / f"{digest[:16]}.json"
