"""Fits a choice head: ridge regression first, then a training of the maps over states that are read once.

The head lies in the last feed-forward layer, so that it changes nothing that it reads itself, and everything below it
is computed once for each input. What it makes of an input follows exactly from the two states that are kept.

1. Read: what `down` of the last layer gets at the last token before the answer, and the state that it adds to.
2. Regress: from there to the sentence encoder's vector of the right tool gives A; the same directions of the encoder
   give the map from meanings to keys; the pseudo-inverse of the output embedding gives the code directions. From here
   on the head answers sets of tools that nothing was fitted on.
3. Train: cross entropy among the codes of sets drawn anew at each step, tools and labels.
"""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import ascii_uppercase

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.choices import Choice, describe_choices, in_words, tool_meaning
from cloud_service.generator.chat_format import answer_ids, question_ids
from cloud_service.generator.choice_head import ChoiceHead, ChoiceMeanings
from cloud_service.generator.edge import edge_projections
from cloud_service.generator.meanings import SentenceEncoder
from cloud_service.generator.prompt_encoder import pad_right
from training.data.corpus import Split
from training.data.episodes import Family, Mixture
from training.data.families import Sources, ToolShares
from training.data.families.classify import Classification
from training.data.families.tools import KnownTool, ToolRouting
from training.data.families.yes_no import YesNoQuestions
from training.fit.loop import Run, Schedule, run_training

READ_AT_ONCE = 48
CONSTANT = 0
"""The row of A that reads 1, by which a key has a threshold."""


@dataclass(frozen=True, slots=True)
class ChoiceHeadSettings:
    """How a choice head is fitted.

    Attributes:
        requests: Requests of each tool that are read.
        described_tools: Tools with made requests that are read too, one request of each.
        labelled: Texts of each labelled set that are read.
        longest_input: Tokens of an input; a longer one loses its beginning.
        ridge: Added to the diagonal of a regression, in units of its mean.
        smoothing: Added to the spread of each direction of meanings before it is evened out, in units of the largest.
        strength: How much a choice raises its code at first, before the final norm divides by the size of the state.
        steps, sets, inputs: Of the training: closed sets in a step, and inputs of each.
        learning_rate: Peak, in units of each parameter's own size; A's is a tenth of it.
        tools, classify, yes_no: How often each family is drawn.
        shares: How often which kind of tool set is drawn.
        codes: The most choices of a set.
    """

    requests: int = 12
    described_tools: int = 2500
    labelled: int = 350
    longest_input: int = 96
    ridge: float = 0.3
    smoothing: float = 0.05
    strength: float = 800.0
    steps: int = 120
    sets: int = 12
    inputs: int = 16
    warmup: int = 20
    learning_rate: float = 7e-4
    weight_decay: float = 0.01
    seed: int = 0
    tools: float = 0.6
    classify: float = 0.22
    yes_no: float = 0.18
    shares: ToolShares = field(default_factory=lambda: ToolShares(renamed=0.4, described=0.35, foreign=0.05))
    codes: int = 72


@dataclass(frozen=True, slots=True)
class ClosedSet:
    """A closed set of choices with inputs, and the number of the right choice of each."""

    choices: tuple[Choice, ...]
    inputs: tuple[str, ...]
    wanted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class States:
    """What the edge model makes of inputs in its last layer, at the last token before the answer.

    Attributes:
        rows: By input, its row in the tensors.
        read: (inputs, inner) float16, what `down` reads.
        left: (inputs, hidden) float16, the state behind the layer, before the final norm.
    """

    rows: Mapping[str, int]
    read: Tensor
    left: Tensor

    def of(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Both states of some inputs, float32."""
        rows = [self.rows[text] for text in texts]
        return self.read[rows].float(), self.left[rows].float()


class ChoicePool:
    """A part of the training data that is small enough to be read by the edge model, as families to draw sets from.

    Args:
        sources: The data.
        settings: How much is taken of what.

    Attributes:
        meanings: Inputs, and what the right choice of each means in words.
        texts: The inputs, each once.
        mixture: Families whose training inputs are among them.
    """

    def __init__(self, sources: Sources, settings: ChoiceHeadSettings) -> None:
        rng = random.Random("choice pool")

        def part(known: KnownTool, count: int) -> KnownTool:
            texts = known.utterances["train"]
            return KnownTool(known.tool, known.domain, {"train": rng.sample(texts, min(count, len(texts)))})

        made = sources.seen_described_tools
        made = rng.sample(made, min(settings.described_tools, len(made)))
        tools = [part(known, settings.requests) for known in sources.seen_tools]
        described = [part(known, 1) for known in made]
        labelled = []
        for data in sources.labelled_texts:
            texts = data.texts["train"]
            labelled.append(replace(data, texts={"train": rng.sample(texts, min(settings.labelled, len(texts)))}))
        families: tuple[Family, ...] = (
            ToolRouting(tools, described, settings.shares),
            Classification(labelled),
            YesNoQuestions(labelled),
        )
        named = [
            (text, in_words(rng.choice(data.kind.names)[number]))
            for data in labelled
            for text, number in data.texts["train"]
        ]
        self.meanings = tuple(
            [(text, tool_meaning(known.tool)) for known in (*tools, *described) for text in known.utterances["train"]]
            + named
        )
        self.mixture = Mixture("closed sets", families, (settings.tools, settings.classify, settings.yes_no))
        self.texts = tuple(dict.fromkeys(text for text, _ in self.meanings))


def draw_closed_set(rng: random.Random, family: Family, split: Split, inputs: int) -> ClosedSet:
    """A closed set of at least two choices, in random order."""
    while True:
        episode = family.draw(rng, split, inputs)
        labels = list(dict.fromkeys(episode.labels))
        asked = [i for i in episode.instances if i.output in labels]
        if len(labels) > 1 and len(asked) == inputs:
            rng.shuffle(labels)
            wanted = tuple(labels.index(i.output) for i in asked)
            return ClosedSet(describe_choices(episode.task, labels), tuple(i.input for i in asked), wanted)


class LastLayer:
    """The frozen edge model up to its last layer, and what is behind it.

    Args:
        model: The edge model.
        tokenizer: Its tokenizer.
        longest: Tokens of an input.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, longest: int) -> None:
        self._model, self._tokenizer, self._longest = model.requires_grad_(False).eval(), tokenizer, longest
        self._down = next(linear for (layer, p), linear in reversed(edge_projections(model).items()) if p == "down")
        self._norm: nn.Module = model.get_decoder().norm
        self._rows: Tensor = model.get_output_embeddings().weight.detach()

    @torch.no_grad()
    def read(self, texts: Sequence[str]) -> States:
        """The states of inputs."""
        encoded = [question_ids(self._tokenizer, text)[-self._longest :] for text in texts]
        order = sorted(range(len(texts)), key=lambda n: len(encoded[n]))
        seen: dict[str, Tensor] = {}
        hooks = [
            self._down.register_forward_hook(lambda _, x, __: seen.__setitem__("read", x[0])),
            self._norm.register_forward_hook(lambda _, x, __: seen.__setitem__("left", x[0])),
        ]
        found = {"read": self._down.in_features, "left": self._rows.shape[1]}
        states = {name: torch.zeros(len(texts), width, dtype=torch.float16) for name, width in found.items()}
        try:
            for start in range(0, len(order), READ_AT_ONCE):
                group = order[start : start + READ_AT_ONCE]
                ids, lengths = pad_right([encoded[n] for n in group])
                self._model.get_decoder()(input_ids=ids, use_cache=False)
                for name, tensor in states.items():
                    tensor[group] = seen[name][torch.arange(len(group)), lengths - 1].half()
        finally:
            for hook in hooks:
                hook.remove()
        return States({text: n for n, text in enumerate(texts)}, states["read"], states["left"])

    def code_logits(self, head: ChoiceHead, codes: Sequence[int], keys: Tensor, read: Tensor, left: Tensor) -> Tensor:
        """Logits of the codes under a head, as the model computes them.

        Args:
            head: In the last layer alone.
            codes: Code tokens.
            keys: (sets, 1, choices, rank).
            read: (sets, inputs, inner), what `down` reads.
            left: (sets, inputs, hidden), the state behind the layer without the head.

        Returns:
            (sets, inputs, choices).
        """
        ((a, b),) = head.deltas(keys).values()
        state = left + read @ a.mT @ b.mT
        logits: Tensor = self._norm(state) @ self._rows[list(codes[: keys.shape[2]])].mT
        return logits

    @torch.no_grad()
    def code_directions(self, codes: Sequence[int]) -> Tensor:
        """(hidden, codes): adding column i to the state raises the logit of code i alone, before the norm divides."""
        rows = self._rows[list(codes)].float()
        return torch.linalg.pinv(rows * self._norm(torch.ones(rows.shape[1])))


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
def start_head(
    head: ChoiceHead, read: Tensor, inputs: Tensor, tools: Tensor, directions: Tensor, settings: ChoiceHeadSettings
) -> None:
    """Sets a fresh head by ridge regression, in place.

    Args:
        head: Fresh, in the last layer alone.
        read: (inputs, inner), what `down` reads.
        inputs: (inputs, encoder), meaning of each input.
        tools: (inputs, encoder), meaning of the right tool of each.
        directions: (hidden, codes).
        settings: How.
    """
    # 1. What A shall read: between the meaning of an input and of its tool, along the directions that vary most, evened
    #    out (half whitened).
    mean = tools.mean(0)
    wanted = (inputs + tools) / 2 - mean
    _, spread, way = torch.linalg.svd(wanted, full_matrices=False)
    spread, way = spread[: head.config.rank - 1], way[: head.config.rank - 1]
    even = way.T * (spread + settings.smoothing * spread[0]).rsqrt()  # (encoder, rank - 1)
    wanted = wanted @ even
    # 2. A, by regression on what it reads, in standard deviations.
    raw = read.float()
    centre, scale = raw.mean(0), raw.std(0) + 1e-4
    a = _ridge((raw - centre) / scale, wanted, settings.ridge) / scale  # (rank - 1, inner)
    # 3. One row reads a constant. By it, a key takes away what the mean input would give it.
    constant = _ridge(raw, torch.ones(len(raw), 1), 0.1)[0]
    head.a[0, CONSTANT], head.a[0, CONSTANT + 1 :] = constant / (raw @ constant).mean(), a
    to_key = torch.cat([-(a @ centre)[None] @ even.T, even.T])  # (rank, encoder)
    # 4. A key counts in what it makes of an input of its own tool, on average: `strength`.
    unit = settings.strength / ((raw @ head.a[0].T) * ((tools - mean) @ to_key.T)).sum(1).mean()
    head.of_choice.weight.copy_(unit * to_key)
    head.of_choice.bias.copy_(-unit * to_key @ mean)
    head.of_examples.weight.copy_(unit * to_key / 4)
    head.b.copy_(directions.expand_as(head.b))


def _ridge(x: Tensor, y: Tensor, ridge: float) -> Tensor:
    """(outputs, inputs): the linear map from x (rows, inputs) to y (rows, outputs)."""
    gram = x.T @ x
    gram.diagonal().add_(ridge * gram.diagonal().mean())
    return torch.linalg.solve(gram, x.T @ y).T


def fit_choice_head(
    head: ChoiceHead,
    codes: Sequence[int],
    model: LastLayer,
    encoder: SentenceEncoder,
    sources: Sources,
    settings: ChoiceHeadSettings,
    directory: Path,
    stop_after: int | None = None,
) -> list[float]:
    """Fits a fresh head in place, or goes on with the run in `directory`, which keeps what the edge model read.

    Returns:
        The losses of the steps that this call ran.
    """
    torch.manual_seed(settings.seed)
    pool = ChoicePool(sources, settings)
    states = load_states(directory / "states.safetensors", model, pool.texts)
    texts, meanings = [text for text, _ in pool.meanings], sorted({meaning for _, meaning in pool.meanings})
    places = {meaning: n for n, meaning in enumerate(meanings)}
    tools = encoder.encode(meanings)[[places[meaning] for _, meaning in pool.meanings]]
    directions = model.code_directions(codes)
    start_head(head, states.of(texts)[0], encoder.encode(texts), tools, directions, settings)
    # A step of Adam moves every number by the learning rate, whatever its size: so each tensor has its own.
    usual = _size(head.of_choice.weight)
    groups = [
        {"params": [tensor], "lr": settings.learning_rate * (_size(tensor) or usual) * (0.1 if name == "a" else 1.0)}
        for name, tensor in head.named_parameters()
        if name != "b"
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=settings.weight_decay)

    def step(number: int) -> tuple[Tensor, int]:
        rng = random.Random(f"choice head/{settings.seed}/{number}")
        sets = [draw_closed_set(rng, pool.mixture, "train", settings.inputs) for _ in range(settings.sets)]
        return score_sets(head, codes, model, encoder.read([each.choices for each in sets]), states, sets)[0], 0

    run = Run(directory / "steps", "choice head", settings.seed, Schedule(settings.steps, settings.warmup))
    return run_training(run, dict(head.named_parameters()), [optimizer], step, stop_after)


def load_states(path: Path, model: LastLayer, texts: Sequence[str]) -> States:
    """The states of inputs; kept in a file, which a second call reads."""
    if not path.exists():
        states = model.read(texts)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        save_file({"read": states.read, "left": states.left}, temporary)
        temporary.replace(path)
    return States({text: n for n, text in enumerate(texts)}, **load_file(path))


def score_sets(
    head: ChoiceHead,
    codes: Sequence[int],
    model: LastLayer,
    meanings: ChoiceMeanings,
    states: States,
    sets: Sequence[ClosedSet],
) -> tuple[Tensor, Tensor]:
    """Mean cross entropy among the codes of each set, and whether each input is answered right, (sets, inputs)."""
    read, left = states.of([text for each in sets for text in each.inputs])
    inputs = (len(sets), len(sets[0].inputs))
    logits = model.code_logits(head, codes, head(meanings), read.unflatten(0, inputs), left.unflatten(0, inputs))
    logits = logits.masked_fill(~meanings.mask[:, None], -1e9)
    wanted = torch.tensor([each.wanted for each in sets])
    return nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten()), logits.argmax(-1) == wanted


def _size(tensor: Tensor) -> float:
    """Root mean square."""
    return float(tensor.detach().square().mean().sqrt())
