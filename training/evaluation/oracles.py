"""The column *oracle*: what a LoRA that is trained on a task's own data answers, un-merged, in this process."""

from pathlib import Path

import torch

from cloud_service.generator.checkpoint import read_manifest, verify_model
from cloud_service.generator.pretrained import load_language_model, load_tokenizer
from loragen.client import ModelPair
from training.evaluation.edge_writer import EdgeWriter
from training.evaluation.records import Answers
from training.evaluation.services import longest_answer
from training.evaluation.suites import SuiteTask
from training.fit.edge_answers import EdgeAnswers
from training.fit.oracle import OracleSettings, fit_oracles

LONGEST_TURN = 1000
RANK = 16


class OracleAnswers:
    """Trains oracles of one edge model, and lets them answer.

    Args:
        pair: Whose edge model.
        directory: Where oracles stay.
        settings: How they are trained.

    Raises:
        CheckpointError: The edge model is not that of the pair.
    """

    def __init__(self, pair: ModelPair, directory: Path, settings: OracleSettings | None = None) -> None:
        manifest, path = read_manifest(pair.generator), Path(pair.edge_model)
        verify_model("edge", manifest.edge_model, path)
        model, tokenizer = load_language_model(path, torch.float32), load_tokenizer(path)
        self._digest, self._directory = manifest.edge_model.digest, directory
        self._settings = settings or OracleSettings(RANK, RANK)
        self._edge = EdgeAnswers(model, tokenizer, LONGEST_TURN, torch.float32)
        self._writer = EdgeWriter(model, tokenizer, LONGEST_TURN)

    def answer(self, task: SuiteTask) -> Answers:
        """The answers of a task's oracle: the likeliest of its closed set, or a greedy one."""
        (factors,) = fit_oracles(self._edge, self._digest, [task], self._settings, self._directory)
        inputs = [instance.input for instance in task.instances]
        longest = 0 if task.choices else longest_answer(task)
        found = self._writer.answer(inputs, [None] * len(inputs), factors, longest, task.choices)
        texts = (
            tuple(choices[number] for choices, number in zip(task.choices, found.chosen, strict=True))
            if task.choices
            else found.texts
        )
        return Answers(texts, (), found.tokens)
