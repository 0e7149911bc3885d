"""The confidence of a generator: how much a task gains, estimated by logistic regression from one pass of the encoder.

A task's gain is the share of its inputs that the edge model answers right under the LoRA, and not without it.
`training.fit.calibrate` observes gains on tasks and fits the regressions; gates and keys do not depend on them.

Where gates answer, the features cost nothing extra, because the prompt encoder computes them anyway:
- its surprise at the prompt, the mean negative log-likelihood of a token; a bidirectional encoder predicts nothing, so
  there it is how far the prompt's states point in the same direction;
- the length of the prompt in tokens, and its tokens for each character;
- the mean of the meta states, and the mean of the prompt's states.
Where the choice head answers, they come from the meanings of the choices: how many, how near to each other, and whether
they are judgements, such as yes and no, which the head cannot tell apart.
Each is measured in standard deviations over the tasks of the fit. One more is the distance of all of them together.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor, nn
from transformers import PreTrainedModel

from cloud_service.answer.choices import Choice
from cloud_service.generation import Confidence
from cloud_service.generator.errors import CheckpointError
from cloud_service.generator.judgements import likeness_to_judgements
from loragen.contract.atomic import write_atomic

SCALARS = 3
"""Features that are single numbers and no part of the distance.

Of a prompt: surprise or coherence, logarithm of the tokens, tokens for each character. Of a closed set: logarithm of
the choices, mean logarithm of the characters of a meaning, share of the choices with examples.
"""

SET_FEATURES = SCALARS + 4
"""Of a closed set: the scalars, and four means or maxima of cosines."""

MAX_SCORED_TOKENS = 128
"""Tokens whose surprise is measured, evenly spread; with a large vocabulary each costs a tenth of a layer."""

MAX_DEVIATIONS = 5.0
"""Standard deviations at which a feature is clipped."""

_HINT = "calibrate this generator again"


class PromptFeatures(nn.Module):
    """Features of prompts, from their states in the prompt encoder."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self._head = [model.get_output_embeddings()]  # in a list: the cloud model's weights are not this module's
        self._cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)

    @staticmethod
    def count(hidden: int) -> int:
        """How many features a prompt encoder of this width gives."""
        return SCALARS + 2 * hidden

    def forward(self, ids: Tensor, lengths: Tensor, characters: Tensor, meta: Tensor, states: Tensor) -> Tensor:
        """Features of a batch.

        Args:
            ids: (tasks, longest prompt) int64, padded on the right.
            lengths: (tasks,) int64, tokens of each prompt.
            characters: (tasks,) int64, characters of each prompt.
            meta: T, (tasks, layers, cloud hidden), after the final norm.
            states: (tasks, longest prompt, cloud hidden), after the final norm.

        Returns:
            (tasks, features) float32.
        """
        rows = []
        for row, length in enumerate(lengths.tolist()):
            tokens = max(length, 1)
            predicts = self._head[0] is not None
            scalars = torch.tensor(
                [
                    self._surprise(states[row, :length], ids[row, :length])
                    if predicts
                    else _coherence(states[row, :length]),
                    math.log(tokens),
                    tokens / max(int(characters[row]), 1),
                ]
            )
            means = (meta[row].float().mean(0), states[row, :tokens].float().mean(0))
            rows.append(torch.cat([scalars.to(meta.device), *means]))
        return torch.stack(rows)

    def _surprise(self, states: Tensor, ids: Tensor) -> float:
        head = self._head[0]
        if len(ids) < 2:  # nothing is predicted from anything
            return 0.0
        places = torch.linspace(0, len(ids) - 2, min(len(ids) - 1, MAX_SCORED_TOKENS), device=ids.device).long()
        logits = head(states[places]).float()
        if self._cap:
            logits = self._cap * torch.tanh(logits / self._cap)
        return float(nn.functional.cross_entropy(logits, ids[places + 1]))


def _coherence(states: Tensor) -> float:
    """Length of the mean of (tokens, hidden) states scaled to length 1: 1 when all point the same way."""
    return float(nn.functional.normalize(states.float(), dim=-1).mean(0).norm()) if len(states) else 0.0


def set_features(choices: Sequence[Choice], meanings: Tensor, judgements: Tensor) -> NDArray[np.float32]:
    """Features of a closed set, (SET_FEATURES,).

    Args:
        choices: At least one.
        meanings: (choices, encoder) float32, of unit length.
        judgements: (words, encoder) float32, `cloud_service.generator.judgements.JUDGEMENTS`.
    """
    count = len(choices)
    cosines = meanings @ meanings.T
    others = cosines[~torch.eye(count, dtype=torch.bool)].view(count, count - 1)
    if count == 1:
        others = cosines.new_zeros(1, 1)
    return np.array(
        [
            math.log(count),
            sum(math.log(max(1, len(choice.meaning))) for choice in choices) / count,
            sum(bool(choice.examples) for choice in choices) / count,
            others.mean().item(),
            others.max().item(),
            others.max(1).values.mean().item(),
            likeness_to_judgements(meanings, judgements),
        ],
        np.float32,
    )


@dataclass(frozen=True, slots=True)
class Regression:
    """From features to a confidence.

    Attributes:
        center: (features,) float32, mean over the tasks of the fit.
        scale: (features,) float32, their standard deviation.
        weights: (features + 1,) float32, of the deviations and of the distance.
        bias: Of the logistic regression.
        farthest: Nearly all tasks of the fit are nearer than this distance.
        evidence: The `weight` of a confidence: how many answered inputs tell as much of a task as its features do.
    """

    center: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: float
    farthest: float
    evidence: float

    def judge(self, features: NDArray[np.float32]) -> Confidence:
        """The confidence in one task, from (features,) float32."""
        inputs = regression_inputs(features[None], self.center, self.scale)[0]
        logit = float(inputs @ self.weights.astype(np.float64)) + self.bias
        return Confidence(
            1 / (1 + math.exp(-max(-50.0, min(logit, 50.0)))), bool(inputs[-1] <= self.farthest), self.evidence
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """The regressions of one generator.

    Attributes:
        open: For tasks that gates answer.
        closed: For closed sets that the choice head answers; None for a generator without one.
    """

    open: Regression
    closed: Regression | None = None


def regression_inputs(
    features: NDArray[np.float32], center: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Inputs of a regression for (tasks, features): deviations and distance, (tasks, features + 1)."""
    deviations = (features.astype(np.float64) - center) / scale
    distance = np.sqrt(np.square(deviations[:, SCALARS:]).mean(1, keepdims=True))
    return np.concatenate([deviations, distance], axis=1).clip(-MAX_DEVIATIONS, MAX_DEVIATIONS)


def store_calibration(path: Path, calibration: Calibration) -> None:
    """Writes a calibration, whole or not at all."""
    tensors = _tensors("open", calibration.open)
    if calibration.closed is not None:
        tensors |= _tensors("closed", calibration.closed)
    write_atomic(path, save(tensors))


def load_calibration(path: Path, features: int, *, closed: bool = False) -> Calibration:
    """Reads a calibration.

    Args:
        path: The file.
        features: Of a prompt.
        closed: Whether the generator has a choice head, and so the calibration a regression for closed sets.

    Raises:
        CheckpointError: The file is no calibration, or one for a generator of another kind.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as e:
        raise CheckpointError(f"{path} cannot be read: {e}") from e
    kinds = {"open": features} | ({"closed": SET_FEATURES} if closed else {})
    expected = {f"{kind}.{name}": size for kind, count in kinds.items() for name, size in _sizes(count).items()}
    found = {name: tensor.size for name, tensor in tensors.items()}
    if found != expected or not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise CheckpointError(f"{path} holds {found}, expected finite {expected}", hint=_HINT)
    for name in ("scale", "evidence"):
        if not all((tensors[f"{kind}.{name}"] > 0).all() for kind in kinds):
            raise CheckpointError(f"{path} holds a {name} that is not positive", hint=_HINT)
    return Calibration(_regression("open", tensors), _regression("closed", tensors) if closed else None)


def _sizes(features: int) -> dict[str, int]:
    return {"center": features, "scale": features, "weights": features + 1, "bias": 1, "farthest": 1, "evidence": 1}


def _tensors(kind: str, regression: Regression) -> dict[str, NDArray[Any]]:
    return {
        f"{kind}.center": regression.center,
        f"{kind}.scale": regression.scale,
        f"{kind}.weights": regression.weights,
        f"{kind}.bias": np.array([regression.bias], np.float64),
        f"{kind}.farthest": np.array([regression.farthest], np.float64),
        f"{kind}.evidence": np.array([regression.evidence], np.float64),
    }


def _regression(kind: str, tensors: Mapping[str, NDArray[np.float32]]) -> Regression:
    center, scale, weights, *numbers = (tensors[f"{kind}.{name}"].ravel() for name in _sizes(0))
    return Regression(center, scale, weights, *(float(number[0]) for number in numbers))
