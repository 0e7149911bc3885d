"""Fits a choice head in closed form: ridge regressions on what the edge model reads once, and no training.

The head lies in the last feed-forward layer, so that it changes nothing that it reads itself.

1. Read: what `down` of the last layer gets at the last token before the answer, for inputs whose right choice is known.
2. Regress: from there to the sentence encoder's vector of the right choice gives A; the same directions of the encoder
   give the map from meanings to keys; the output embedding gives the code directions.

While the arguments of a call are written, the head has to do nothing: what `down` gets there is regressed to zero.

Training the maps on from there, by cross entropy among the codes, was tried: choices that were not trained on pay for
those that were (docs/experiments.md).
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from cloud_service.answer.choices import in_words, tool_meaning
from cloud_service.generator.chat_format import answer_ids
from cloud_service.generator.choice_head import ChoiceHead, ChoiceMeanings
from cloud_service.generator.key_tuning import LARGEST_FACTOR
from cloud_service.generator.last_layer import LastLayer
from cloud_service.generator.meanings import SentenceEncoder
from training.data.families import Sources
from training.data.families.label_tasks import seen_texts

CONSTANT = 0
"""The row of A that reads 1, by which a key has a threshold."""

CONSTANT_RIDGE = 0.01

EXAMPLES_SHARE = 0.25
"""Weight of a choice's examples in its key, against its description."""


@dataclass(frozen=True, slots=True)
class ChoiceHeadSettings:
    """How a choice head is fitted.

    Attributes:
        requests: Requests of each tool that are read.
        described_tools: Tools with made requests that are read too, one request of each.
        labelled: Texts of each labelled set that are read.
        own_texts: Texts of our own label tasks that are read, of all tasks together.
        longest_input: Tokens of an input; a longer one loses its beginning.
        ridge: Added to the diagonal of a regression, in units of its mean.
        smoothing: Added to the spread of each direction of meanings before it is evened out, in units of the largest.
        strength: How much a choice raises its code, before the final norm divides by the size of the state.
        codes: The most choices of a set.
    """

    requests: int = 12
    described_tools: int = 2500
    labelled: int = 350
    own_texts: int = 20_000
    longest_input: int = 96
    ridge: float = 0.03
    smoothing: float = 0.05
    strength: float = 800.0
    codes: int = 72


def known_meanings(sources: Sources, settings: ChoiceHeadSettings) -> list[tuple[str, str]]:
    """Inputs of training, and what the right choice of each means in words: a tool, or the name of a class."""
    rng = random.Random("choice pool")
    made = sources.seen_described_tools
    made = rng.sample(made, min(settings.described_tools, len(made)))
    pairs = []
    for known, count in [*((each, settings.requests) for each in sources.seen_tools), *((each, 1) for each in made)]:
        texts = known.utterances["train"]
        pairs += [(text, tool_meaning(known.tool)) for text in rng.sample(texts, min(count, len(texts)))]
    labelled = [
        (data.kind, rng.sample(data.texts["train"], min(settings.labelled, len(data.texts["train"]))))
        for data in sources.labelled_texts
    ]
    pairs += [(text, in_words(rng.choice(kind.names)[number])) for kind, drawn in labelled for text, number in drawn]
    own = rng.sample(seen_texts(), min(settings.own_texts, len(seen_texts())))
    return pairs + [(text, in_words(rng.choice(task.labels)[number])) for task, text, number in own]


def fit_choice_head(
    head: ChoiceHead,
    codes: Sequence[int],
    layer: LastLayer,
    encoder: SentenceEncoder,
    pairs: Sequence[tuple[str, str]],
    settings: ChoiceHeadSettings,
    path: Path,
    inactive: Tensor | None = None,
) -> None:
    """Fits a fresh head in place.

    Args:
        head: In the last layer alone.
        codes: Code tokens.
        layer: Of the edge model.
        encoder: Says what texts mean.
        pairs: Inputs, and what the right choice of each means in words.
        settings: How.
        path: Where what the edge model reads is kept: a second call goes on from there.
        inactive: (places, inner), what `down` gets where the head should do nothing.

    Raises:
        ValueError: The head has more layers than the last one.
    """
    if head.layers != 1:
        raise ValueError(f"the choice head has {head.layers} layers, expected the edge model's last one alone")
    inputs, meanings = [text for text, _ in pairs], sorted({meaning for _, meaning in pairs})
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        save_file({"read": layer.read(inputs)}, temporary)
        temporary.replace(path)
    places = {meaning: n for n, meaning in enumerate(meanings)}
    wanted = encoder.encode(meanings)[[places[meaning] for _, meaning in pairs]]
    read = load_file(path)["read"]
    solve_head(head, read, encoder.encode(inputs), wanted, layer.code_directions(codes), settings, inactive)


def code_tokens(tokenizer: PreTrainedTokenizerBase, count: int) -> tuple[int, ...]:
    """Tokens that stand for choices by their order: letters, then pairs of letters that are one token.

    Raises:
        ValueError: The vocabulary has too few.
    """
    names = [*ascii_uppercase, *map("".join, itertools.product(ascii_uppercase, repeat=2))]
    encoded = (answer_ids(tokenizer, name)[:-1] for name in names)  # without the end of the answer
    found = list(dict.fromkeys(ids[0] for ids in encoded if len(ids) == 1))[:count]
    if len(found) < count:
        raise ValueError(f"the edge model's vocabulary has {len(found)} letters and pairs of letters, expected {count}")
    return tuple(found)


@torch.no_grad()
def solve_head(
    head: ChoiceHead,
    read: Tensor,
    inputs: Tensor,
    tools: Tensor,
    directions: Tensor,
    settings: ChoiceHeadSettings,
    inactive: Tensor | None = None,
) -> None:
    """Sets a fresh head by ridge regression, in place.

    Args:
        head: Fresh, in the last layer alone.
        read: (inputs, inner), what `down` reads.
        inputs: (inputs, encoder), meaning of each input.
        tools: (inputs, encoder), meaning of the right tool of each.
        directions: (hidden, codes).
        settings: How.
        inactive: (places, inner), what `down` reads where the head should do nothing.

    Raises:
        ValueError: The LoRA of a set would not fit into float16, since keys hardly tell the tools apart.
    """
    inactive = read[:0].float() if inactive is None else inactive.float()
    # 1. What A shall read: between the meaning of an input and of its tool, along the directions that vary most, evened
    #    out (half whitened).
    mean = tools.mean(0)
    wanted = (inputs + tools) / 2 - mean
    _, spread, way = torch.linalg.svd(wanted, full_matrices=False)
    spread, way = spread[: head.config.rank - 1], way[: head.config.rank - 1]
    even = way.T * (spread + settings.smoothing * spread[0]).rsqrt()  # (encoder, rank - 1)
    wanted = wanted @ even
    # 2. One row reads 1 at an input's last token, and 0 where the head should do nothing. By it, a key takes away what
    #    the mean input would give it.
    raw = read.float()
    centre, scale = raw.mean(0), raw.std(0) + 1e-4
    targets = torch.cat([torch.ones(len(raw), 1), torch.zeros(len(inactive), 1)])
    constant = _ridge(torch.cat([raw, inactive]) / scale, targets, CONSTANT_RIDGE)[0] / scale
    constant /= (raw @ constant).mean()
    # 3. The other rows, by regression on what is read beyond the mean input, in standard deviations.
    beyond = torch.cat([raw - centre, inactive - (inactive @ constant)[:, None] * centre]) / scale
    targets = torch.cat([wanted, torch.zeros(len(inactive), wanted.shape[1])])
    a = _ridge(beyond, targets, settings.ridge) / scale  # (rank - 1, inner)
    head.a[0, CONSTANT], head.a[0, CONSTANT + 1 :] = constant, a
    to_key = torch.cat([-(a @ centre)[None] @ even.T, even.T])  # (rank, encoder)
    # 4. A key counts in what it makes of an input of its own tool, on average: `strength`.
    unit = settings.strength / ((raw @ head.a[0].T) * ((tools - mean) @ to_key.T)).sum(1).mean()
    head.of_choice.weight.copy_(unit * to_key)
    head.of_choice.bias.copy_(-unit * to_key @ mean)
    head.of_examples.weight.copy_(EXAMPLES_SHARE * unit * to_key)
    head.of_examples.bias.copy_(-EXAMPLES_SHARE * unit * to_key @ inputs.mean(0))
    head.b.copy_(directions.expand_as(head.b))
    # 5. Bundles hold float16.
    some = tools[: directions.shape[1]][None]
    keys = head(ChoiceMeanings(some, torch.zeros_like(some), torch.ones(some.shape[:2], dtype=torch.bool)))
    largest = max(b.abs().max().item() for _, b in head.deltas(keys).values())
    if largest > LARGEST_FACTOR:
        raise ValueError(
            f"the choice head does not fit this edge model: with strength {settings.strength:g} a factor of its LoRA "
            f"is {largest:.3g}, and a bundle holds at most {LARGEST_FACTOR:g}. Choose a smaller strength in [choice]."
        )


def _ridge(x: Tensor, y: Tensor, ridge: float) -> Tensor:
    """(outputs, inputs): the linear map from x (rows, inputs) to y (rows, outputs)."""
    gram = x.T @ x
    gram.diagonal().add_(ridge * gram.diagonal().mean())
    return torch.linalg.solve(gram, x.T @ y).T
