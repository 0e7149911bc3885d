"""The choice head of a bank: it makes an edge model write one of a few code tokens, whichever a task's choice means.

It sits in the down projection of the last feed-forward layers, which writes into the residual stream. Each of its codes
has a direction in that stream, a column of B, that ends in the code's token; a recipe has a key for each choice of its
task: where in the layer's activations, as the head's A sees them, this choice is called for.

    delta_l = B_choice A_l     B_choice = sum_i B_l[:, i] keys[l, i, :]

Choice i of a task uses code i of the bank. `loragen.contract.assembly` puts the head beside what the gates mix.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragen.contract.digest import canonical_json
from loragen.contract.errors import FormatError, LimitError
from loragen.contract.fields import TextForm, verify_count
from loragen.contract.limits import MAX_CHOICES, MAX_LAYERS, MAX_RANK, MAX_TOKEN
from loragen.contract.lora import FactorPair
from loragen.contract.mixes import round_half, without_negative_zero


@dataclass(frozen=True, slots=True)
class ChoiceHeadLayout:
    """Where the head is, and which tokens it writes.

    Attributes:
        first_layer: The first layer that has a part of the head; all layers behind it have one too.
        rank: Length of a key.
        codes: Token ids of the edge model, each once: choice i of a task is written as code i.

    Raises:
        FormatError, LimitError: A number out of its range, or a code that occurs twice.
    """

    first_layer: int
    rank: int
    codes: tuple[int, ...]

    def __post_init__(self) -> None:
        verify_count(self.first_layer, "choice: first_layer", 0, MAX_LAYERS - 1)
        verify_count(self.rank, "choice: rank", 1, MAX_RANK)
        if len(self.codes) > MAX_CHOICES:
            raise LimitError(f"choice: expected at most {MAX_CHOICES} codes, found {len(self.codes)}")
        for code in self.codes:
            verify_count(code, "choice: code", 0, MAX_TOKEN)
        if not self.codes or len(set(self.codes)) < len(self.codes):
            raise FormatError("choice: expected at least one code, each of them once")


def choice_factors(head: FactorPair, keys: NDArray[np.float32]) -> FactorPair:
    """The head's part of the LoRA of one down projection, the same bits on every machine.

    Args:
        head: The head in this layer: A (rank, intermediate) and B (hidden, codes), float16.
        keys: (choices, rank) float32, at most as many choices as codes.

    Returns:
        A (rank, intermediate) as it is, and B (hidden, rank); float16.
    """
    a, directions = head
    total = np.zeros((directions.shape[0], keys.shape[1]), np.float32)
    product = np.empty_like(total)
    for choice, key in enumerate(keys):
        # (hidden, 1) times (1, rank). Two calls instead of one fused operation: each of them rounds to float32.
        np.multiply(directions[:, choice, None].astype(np.float32), key[None], out=product)
        np.add(total, product, out=total)
    return without_negative_zero(a.copy()), round_half(total)


def encode_choice(head: ChoiceHeadLayout | None) -> str:
    """The text of a head in a bank's header: canonical JSON, `null` when the bank has none."""
    if head is None:
        return "null"
    fields = {"codes": head.codes, "first_layer": head.first_layer, "rank": head.rank}
    return canonical_json(fields).decode("ascii")


def parse_choice(text: str) -> ChoiceHeadLayout | None:
    """Parse the text of a head; `encode_choice` of the result gives `text` again.

    Raises:
        ContractError: Any text that `encode_choice` could not have made.
    """
    try:
        fields: Any = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise FormatError("choice: expected JSON") from e
    head = None
    if fields is not None:
        if not isinstance(fields, dict) or fields.keys() != {"codes", "first_layer", "rank"}:
            raise FormatError("choice: expected a JSON object of codes, first_layer and rank")
        if not isinstance(fields["codes"], list):
            raise FormatError("choice: expected a list of codes")
        head = ChoiceHeadLayout(fields["first_layer"], fields["rank"], tuple(fields["codes"]))
    if encode_choice(head) != text:
        raise FormatError("choice: the choice head is not in canonical form", hint="see docs/bundle-format.md")
    return head


CHOICE = TextForm(lambda head, _: encode_choice(head), lambda text, _: parse_choice(text))
"""The text form of a head in the header of a bank."""
