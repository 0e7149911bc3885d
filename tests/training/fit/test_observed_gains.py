"""What counts as a gain, which tasks are drawn, and what stays on disk."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_service.generation import Asked, EdgeScores
from cloud_service.generator import TorchGenerator, load_generator
from cloud_service.generator.checkpoint import Manifest, read_manifest
from cloud_service.task import Example, TaskDescription
from loragen.contract.answer import TEXT_ANSWER, AnswerContract
from loragen.contract.lora import Lora
from tests.training.conftest import TrainedPair
from training.data.descriptions import Descriptions, Part, load_descriptions
from training.fit.observed_gains import (
    INPUTS,
    DrawnTask,
    GainRecords,
    draw_tasks,
    gains_of,
    observe,
    observe_gain,
)

TASK = DrawnTask(Asked("Turn it around."), tuple(Example(text, text[::-1]) for text in ("ab", "cd", "ef", "gh")))


@pytest.fixture(scope="module")
def generator(tiny_pair: TrainedPair) -> TorchGenerator:
    return load_generator(tiny_pair.out / "generator", tiny_pair.out / "cloud", tiny_pair.out / "edge")


@pytest.fixture
def manifest(tiny_pair: TrainedPair) -> Manifest:
    return read_manifest(tiny_pair.out / "generator")


@pytest.fixture(scope="module")
def parts(described: Path) -> dict[Part, Descriptions]:
    return load_descriptions(described)


class ScriptedProbe:
    """Is right on some inputs, with a LoRA and without."""

    max_tokens = 100

    def __init__(self, specialized: Sequence[str], base: Sequence[str]) -> None:
        self._specialized, self._base = specialized, base
        self.asked: list[tuple[str, bool, str]] = []

    def count_tokens(self, example: Example, residual_prompt: str = "") -> int:
        return 1

    def score(
        self,
        examples: Sequence[Example],
        lora: Lora | None,
        answer: AnswerContract = TEXT_ANSWER,
        residual_prompt: str = "",
    ) -> EdgeScores:
        (example,) = examples
        self.asked.append((example.input, lora is not None, residual_prompt))
        return EdgeScores((example.input in (self._base if lora is None else self._specialized),), -1.0)


def test_an_input_is_gained_where_the_lora_is_right_and_the_base_model_is_not(generator: TorchGenerator) -> None:
    probe = ScriptedProbe(specialized=["ab", "cd", "ef"], base=["cd", "gh"])
    assert observe_gain(generator, probe, TASK) == 0.5
    assert ("gh", False, "") not in probe.asked  # nothing to gain there
    assert observe_gain(generator, ScriptedProbe(["ab"], ["ab", "cd"]), TASK) == 0


def test_a_closed_set_is_answered_by_its_codes_as_a_device_does(generator: TorchGenerator) -> None:
    """Under the keys every input has one of two answers, so that one of two probes is right."""
    asked = Asked.of(TaskDescription("Is it Rome? Answer yes or no."))
    probe = generator.load_probe()
    right = [
        observe_gain(generator, probe, DrawnTask(asked, tuple(Example(text, answer) for text in ("Rome", "Oslo"))))
        for answer in ("yes", "no")
    ]
    assert sum(right) == 1


def test_tasks_are_of_their_kind_and_follow_from_part_and_number(
    generator: TorchGenerator, parts: dict[Part, Descriptions]
) -> None:
    for part in parts.values():
        opened, closed = draw_tasks(generator, part, "open", 8), draw_tasks(generator, part, "closed", 8)
        assert opened == [*draw_tasks(generator, part, "open", 3), *opened[3:]]
        assert not any(task.asked.choices for task in opened)
        assert len(set(opened)) > 4
        for task in closed:
            names = {choice.text for choice in task.asked.choices}
            assert 1 < len(names) <= generator.info.most_choices
            assert {example.output for example in task.examples} <= names
        assert {len(task.examples) for task in opened} == {INPUTS["open"]}
    validation, test = (draw_tasks(generator, part, "open", 8) for part in parts.values())
    assert not {task.examples for task in validation} & {task.examples for task in test}


def test_data_without_a_task_of_a_kind_is_said(
    generator: TorchGenerator, parts: dict[Part, Descriptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "_info", replace(generator.info, most_choices=1))
    with pytest.raises(ValueError, match="no closed task that can be answered"):
        draw_tasks(generator, parts["test"], "closed", 1)


def test_gains_are_kept_for_the_generator_and_the_task(
    manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = GainRecords(tmp_path / "runs", manifest)
    assert records.find(TASK) is None
    records.store(TASK, 0.25)
    assert GainRecords(tmp_path / "runs", manifest).find(TASK) == 0.25
    assert records.find(replace(TASK, examples=TASK.examples[:3])) is None
    assert records.find(replace(TASK, asked=Asked("Turn it."))) is None
    others = (
        replace(manifest, config=replace(manifest.config, residual_prompt_tokens=7)),
        replace(manifest, files={**manifest.files, "bank.safetensors": "0" * 64}),
        replace(manifest, edge_model=replace(manifest.edge_model, digest="0" * 64)),
    )
    assert [GainRecords(tmp_path / "runs", other).find(TASK) for other in others] == [None] * 3
    calibrated = replace(manifest, files={**manifest.files, "confidence.safetensors": "0" * 64}, digest="0" * 64)
    assert GainRecords(tmp_path / "runs", calibrated).find(TASK) == 0.25


def test_observing_goes_on_where_it_ended_and_tells_how_long_it_takes(
    generator: TorchGenerator,
    manifest: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tasks = [replace(TASK, asked=Asked(f"Turn it around, {number}.")) for number in range(12)]
    records = GainRecords(tmp_path, manifest)
    records.store(tasks[0], 1.0)
    with pytest.raises(ValueError, match="11 of 12 open tasks were not observed"):
        gains_of(generator, tasks, "open", records)
    probe = ScriptedProbe(["ab"], [])
    monkeypatch.setattr(generator, "load_probe", lambda: probe)
    observe(generator, tasks, records)
    assert "observed 10 of 11 tasks; about 0 minutes left" in capsys.readouterr().out
    found = gains_of(generator, tasks, "open", records)
    assert found.gains.tolist() == [1.0] + [0.25] * 11
    assert found.features.tobytes() == generator.measure([task.asked.prompt for task in tasks]).tobytes()
    monkeypatch.setattr(generator, "load_probe", None)
    observe(generator, tasks, records)


def test_features_of_closed_sets_are_those_of_their_choices(
    generator: TorchGenerator, manifest: Manifest, parts: dict[Part, Descriptions], tmp_path: Path
) -> None:
    tasks, records = draw_tasks(generator, parts["test"], "closed", 2), GainRecords(tmp_path, manifest)
    for task in tasks:
        records.store(task, 0.5)
    found = gains_of(generator, tasks, "closed", records)
    assert found.features.tobytes() == generator.measure_sets([task.asked.choices for task in tasks]).tobytes()
