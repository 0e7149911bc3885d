"""The confidence of a generator: a logistic regression on features of the prompt's one forward pass.

The features cost nothing extra, because the prompt encoder computes them anyway:
- its surprise at the prompt, the mean negative log-likelihood of a token; a bidirectional encoder predicts nothing, so
  there it is how far the prompt's states point in the same direction;
- the length of the prompt in tokens, and its tokens for each character;
- the mean of the meta states, and the mean of the prompt's states.
Each is measured in standard deviations from the descriptions that the generator was trained on. One more feature is the
distance of all of them together. `training.fit.calibrate` fits the coefficients; gates do not depend on any of this.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor, nn
from transformers import PreTrainedModel

from cloud_service.generation import Confidence
from cloud_service.generator.errors import CheckpointError
from loragen.contract.atomic import write_atomic

SCALARS = 3
"""Features that are single numbers: surprise or coherence, logarithm of the tokens, tokens for each character."""

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


@dataclass(frozen=True, slots=True)
class Calibration:
    """From features to a confidence.

    Attributes:
        center: (features,) float32, mean over the descriptions of training.
        scale: (features,) float32, their standard deviation.
        weights: (features + 1,) float32, of the deviations and of the distance.
        bias: Of the logistic regression.
        farthest: Nearly all descriptions of training are nearer than this distance.
    """

    center: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: float
    farthest: float

    def judge(self, features: NDArray[np.float32]) -> Confidence:
        """The confidence of one prompt, from (features,) float32."""
        inputs = regression_inputs(features[None], self.center, self.scale)[0]
        logit = float(inputs @ self.weights.astype(np.float64)) + self.bias
        return Confidence(1 / (1 + math.exp(-max(-50.0, min(logit, 50.0)))), bool(inputs[-1] <= self.farthest))


def regression_inputs(
    features: NDArray[np.float32], center: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Inputs of the regression for (prompts, features): deviations and distance, (prompts, features + 1)."""
    deviations = (features.astype(np.float64) - center) / scale
    distance = np.sqrt(np.square(deviations[:, SCALARS:]).mean(1, keepdims=True))
    return np.concatenate([deviations, distance], axis=1).clip(-MAX_DEVIATIONS, MAX_DEVIATIONS)


def store_calibration(path: Path, calibration: Calibration) -> None:
    """Writes a calibration, whole or not at all."""
    tensors = {
        "center": calibration.center,
        "scale": calibration.scale,
        "weights": calibration.weights,
        "bias": np.array([calibration.bias], np.float64),
        "farthest": np.array([calibration.farthest], np.float64),
    }
    write_atomic(path, save(tensors))


def load_calibration(path: Path, features: int) -> Calibration:
    """Reads a calibration.

    Raises:
        CheckpointError: The file is no calibration, or one for another number of features.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as e:
        raise CheckpointError(f"{path} cannot be read: {e}") from e
    expected = {"center": features, "scale": features, "weights": features + 1, "bias": 1, "farthest": 1}
    found = {name: tensor.size for name, tensor in tensors.items()}
    if found != expected or not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise CheckpointError(
            f"{path} holds {found}, expected finite {expected}", hint="calibrate this generator again"
        )
    if not (tensors["scale"] > 0).all():
        raise CheckpointError(f"{path} holds a scale that is not positive", hint=_HINT)
    return Calibration(
        tensors["center"].ravel(),
        tensors["scale"].ravel(),
        tensors["weights"].ravel(),
        float(tensors["bias"].ravel()[0]),
        float(tensors["farthest"].ravel()[0]),
    )
