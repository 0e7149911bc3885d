"""The choice head: it answers a closed set, such as tools or labels, even when training saw none of its members.

A feed-forward layer's inner state at the last token of a prompt says, to a linear map, what the input means: in the
space of a sentence encoder, and for tools that no fit ever saw. So a choice is a classifier by arithmetic. The encoder
gives each choice's meaning m_i, a learned map turns it into a key k_i, and the LoRA of the `down` projection

    delta = sum_i  c_i k_i^T A          A (rank, inner) reads an input's meaning, c_i (hidden) raises one code token

makes the model write the code token of the choice whose meaning is nearest. A and c are the same for every task and lie
in the bank; the keys are the recipe. Codes stand for choices by their order, so a name never has to be learned.
`training.fit.choice_head` fits it, `loragen.contract.assembly` builds the LoRA.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class ChoiceHeadConfig:
    """The sizes of a choice head.

    Attributes:
        first_layer: The first edge layer that has it; all layers from there on do.
        rank: Rows of A in each layer.
    """

    first_layer: int
    rank: int = 64


@dataclass(frozen=True, slots=True)
class ChoiceMeanings:
    """What the choices of a batch of sets mean to the sentence encoder, padded on the right.

    Attributes:
        choices: (sets, longest, encoder) float32, of each choice by itself.
        examples: (sets, longest, encoder) float32, mean over inputs that are to be answered by the choice; zeros
            without any.
        mask: (sets, longest) bool, False for padding.
    """

    choices: Tensor
    examples: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> "ChoiceMeanings":
        """The same on a device."""
        return ChoiceMeanings(*(each.to(device) for each in (self.choices, self.examples, self.mask)))


class ChoiceHead(nn.Module):
    """A, code directions, and the map from meanings to keys.

    Args:
        config: Sizes.
        layers: Layers of the edge model.
        inner: Width of its feed-forward layers.
        hidden: Width of its residual stream.
        encoder: Width of the sentence encoder.
        codes: How many code tokens there are: the most choices of a set.
    """

    def __init__(
        self, config: ChoiceHeadConfig, layers: int, inner: int, hidden: int, encoder: int, codes: int
    ) -> None:
        super().__init__()
        self.config, self.layers = config, layers - config.first_layer
        keys = self.layers * config.rank
        self.a = nn.Parameter(torch.zeros(self.layers, config.rank, inner))
        self.b = nn.Parameter(torch.zeros(self.layers, hidden, codes))
        self.of_choice = nn.Linear(encoder, keys)
        self.of_examples = nn.Linear(encoder, keys)

    def forward(self, meanings: ChoiceMeanings) -> Tensor:
        """Keys (sets, layers, longest, rank) float32; those of a set sum to zero, those of padding are zero."""
        shown = meanings.examples.any(-1, keepdim=True)
        keys = self.of_choice(meanings.choices) + self.of_examples(meanings.examples) * shown
        mask = meanings.mask[..., None]
        keys = keys * mask
        # What all choices of a set share tells none of them from another.
        keys = (keys - keys.sum(1, keepdim=True) / mask.sum(1, keepdim=True)) * mask
        return keys.unflatten(-1, (self.layers, self.config.rank)).transpose(1, 2)

    def deltas(self, keys: Tensor) -> Mapping[int, tuple[Tensor, Tensor]]:
        """By edge layer: A (rank, inner), and B (sets, hidden, rank) under keys (sets, layers, longest, rank)."""
        count = keys.shape[2]
        b = self.b[None, :, :, :count] @ keys  # (sets, layers, hidden, rank)
        return {self.config.first_layer + n: (self.a[n], b[:, n]) for n in range(self.layers)}
