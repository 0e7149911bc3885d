"""Fits a choice head: ridge regressions first, then a short training through the edge model itself.

1. Read: what the `down` projections of the upper layers get at the last token before the answer, on requests to known
   tools. Ridge regression from there to the sentence encoder's vector of the right tool gives A; the same directions of
   the encoder give the map from meanings to keys; the pseudo-inverse of the output embedding gives the code directions.
   The head answers sets of tools that nothing was fitted on from here on.
2. Train: cross entropy among the codes of sets drawn anew at each step, through the layers that hold the head. What one
   layer writes is read by the next, which no regression knows of.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.choices import Choice, describe_choices, tool_meaning
from cloud_service.generator.chat_format import question_ids
from cloud_service.generator.choice_head import ChoiceHead
from cloud_service.generator.edge import UnmergedLora, edge_projections
from cloud_service.generator.meanings import SentenceEncoder
from cloud_service.generator.prompt_encoder import pad_right
from training.data.corpus import Split
from training.data.episodes import Mixture
from training.data.families import Sources
from training.fit.loop import Run, Schedule, run_training

READ_AT_ONCE = 48
CONSTANT = 0
"""The row of A that reads 1, by which a key has a threshold."""


@dataclass(frozen=True, slots=True)
class ChoiceHeadSettings:
    """How a choice head is fitted.

    Attributes:
        requests: Requests of each tool that are read for the regressions.
        described_tools: Tools with made requests that are read too, one request of each.
        ridge: Added to the diagonal of a regression, in units of its mean.
        smoothing: Added to the spread of each direction of meanings before it is evened out, in units of the largest.
        strengths: Factors of the keys, of which the best on training sets is taken before training.
        steps, sets, inputs: Of the training: closed sets in a step, and inputs of each.
        learning_rate: Peak for the maps to keys, in units of each parameter's own size; A's is a tenth of it.
        families: How often each task family is drawn.
    """

    requests: int = 14
    described_tools: int = 2000
    ridge: float = 0.3
    smoothing: float = 0.05
    strengths: tuple[float, ...] = (5.0, 10.0, 20.0, 40.0, 80.0)
    steps: int = 150
    sets: int = 12
    inputs: int = 5
    warmup: int = 10
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    longest_input: int = 96
    seed: int = 0
    families: dict[str, float] = field(default_factory=lambda: {"tools": 0.65, "classify": 0.2, "yes_no": 0.15})


@dataclass(frozen=True, slots=True)
class ClosedSet:
    """A closed set of choices with inputs, and the number of the right choice of each."""

    choices: tuple[Choice, ...]
    inputs: tuple[str, ...]
    wanted: tuple[int, ...]


class ChoiceAnswers:
    """The frozen edge model, answering closed sets by code tokens under a choice head.

    Args:
        model: The edge model.
        tokenizer: Its tokenizer.
        codes: Code tokens.
        longest: Tokens of an input; longer ones lose their beginning.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, codes: Sequence[int], longest: int
    ) -> None:
        self.model = model.requires_grad_(False).eval()
        self._tokenizer, self._longest = tokenizer, longest
        self._lora = UnmergedLora(model)
        self.code_rows = model.get_output_embeddings().weight[list(codes)].detach().float()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each input, up to where the answer begins."""
        return [question_ids(self._tokenizer, text)[-self._longest :] for text in texts]

    def logits(self, encoded: Sequence[Sequence[int]], head: ChoiceHead, keys: Tensor) -> Tensor:
        """Logits of the codes, (inputs, longest set), for inputs sorted by set, equally many of each."""
        ids, lengths = pad_right(encoded)
        factors = {(layer, "down"): (a.expand(len(keys), -1, -1), b) for layer, (a, b) in head.deltas(keys).items()}
        with self._lora.applied(factors):
            states = self.model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        return states[torch.arange(len(ids)), lengths - 1].float() @ self.code_rows[: keys.shape[2]].T

    @torch.no_grad()
    def read(self, texts: Sequence[str], first_layer: int) -> Tensor:
        """What `down` reads at the last token, (inputs, layers, inner) float16, layers from the first one on."""
        encoded = self.encode(texts)
        order = sorted(range(len(texts)), key=lambda n: len(encoded[n]))
        blocks = {layer: linear for (layer, p), linear in edge_projections(self.model).items() if p == "down"}
        layers = sorted(layer for layer in blocks if layer >= first_layer)
        seen: dict[int, Tensor] = {}
        hooks = [
            blocks[layer].register_forward_hook(lambda _, x, __, layer=layer: seen.__setitem__(layer, x[0]))
            for layer in layers
        ]
        found = torch.zeros(len(texts), len(layers), blocks[first_layer].in_features, dtype=torch.float16)
        try:
            for start in range(0, len(order), READ_AT_ONCE):
                group = order[start : start + READ_AT_ONCE]
                ids, lengths = pad_right([encoded[n] for n in group])
                self.model.get_decoder()(input_ids=ids, use_cache=False)
                rows = torch.arange(len(group))
                for place, layer in enumerate(layers):
                    found[group, place] = seen[layer][rows, lengths - 1].half()
        finally:
            for hook in hooks:
                hook.remove()
        return found


def draw_closed_set(rng: random.Random, mixture: Mixture, split: Split, inputs: int) -> ClosedSet:
    """A closed set of at least two choices, in random order."""
    while True:
        episode = mixture.draw(rng, split, inputs)
        labels = list(dict.fromkeys(episode.labels))
        asked = [i for i in episode.instances if i.output in labels]
        if len(labels) > 1 and len(asked) == inputs:
            rng.shuffle(labels)
            wanted = tuple(labels.index(i.output) for i in asked)
            return ClosedSet(describe_choices(episode.task, labels), tuple(i.input for i in asked), wanted)


def code_directions(model: PreTrainedModel, rows: Tensor) -> Tensor:
    """(hidden, codes): adding column i to the last state raises the logit of code i alone, before the norm divides."""
    with torch.no_grad():
        weight = model.get_decoder().norm(torch.ones(rows.shape[1])).float()
    return torch.linalg.pinv(rows * weight)


def start_head(
    head: ChoiceHead, read: Tensor, inputs: Tensor, tools: Tensor, directions: Tensor, settings: ChoiceHeadSettings
) -> None:
    """Sets a fresh head by ridge regression, in place.

    Args:
        head: Fresh.
        read: (inputs, layers, inner) float16, what `down` reads.
        inputs: (inputs, encoder), meaning of each input.
        tools: (inputs, encoder), meaning of the right tool of each.
        directions: (hidden, codes).
        settings: How.
    """
    # 1. What A shall read: between the meaning of an input and of its tool, its directions evened out (half whitened).
    mean = tools.mean(0)
    wanted = (inputs + tools) / 2 - mean
    _, spread, way = torch.linalg.svd(wanted, full_matrices=False)
    spread = spread / len(wanted) ** 0.5
    even = way.T * (spread + settings.smoothing * spread[0]).rsqrt()  # (encoder, encoder)
    even = even / (wanted @ even).norm(dim=1).mean()
    wanted = wanted @ even
    rank, width = head.config.rank - 1, even.shape[1]
    with torch.no_grad():
        head.b.copy_(directions.expand_as(head.b))
        of_choice, bias = torch.zeros_like(head.of_choice.weight), torch.zeros_like(head.of_choice.bias)
        for layer in range(head.layers):
            x = read[:, layer].float()
            centre, scale = x.mean(0), x.std(0) + 1e-4
            x = (x - centre) / scale
            gram = x.T @ x
            gram.diagonal().add_(settings.ridge * gram.diagonal().mean())
            a = torch.linalg.solve(gram, x.T @ wanted).T  # (encoder, inner): reads every direction
            # 2. Each layer takes other directions, so that together they cover all; keys take the same ones.
            own = (
                torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(layer))).Q[:, :rank].T
            )
            a, to_key = own @ a / scale, own @ even.T
            # 3. One row reads a constant. By it, a key takes away what the layer's mean input would give it.
            ones = read[:, layer].float()
            gram = ones.T @ ones
            gram.diagonal().add_(0.1 * gram.diagonal().mean())
            constant = torch.linalg.solve(gram, ones.sum(0))
            head.a[layer, CONSTANT] = constant / (ones @ constant).mean()
            head.a[layer, CONSTANT + 1 :] = a
            to_key = torch.cat([-(a @ centre)[None] @ to_key, to_key])
            rows = slice(layer * (rank + 1), (layer + 1) * (rank + 1))
            of_choice[rows], bias[rows] = to_key, -to_key @ mean
        head.of_choice.weight.copy_(of_choice)
        head.of_choice.bias.copy_(bias)
        head.of_examples.weight.copy_(of_choice / 4)


def fit_choice_head(
    head: ChoiceHead,
    answers: ChoiceAnswers,
    encoder: SentenceEncoder,
    sources: Sources,
    mixture: Mixture,
    settings: ChoiceHeadSettings,
    directory: Path,
    stop_after: int | None = None,
) -> list[float]:
    """Fits a fresh head in place, or goes on with the run in `directory`.

    Returns:
        The losses of the steps that this call ran.
    """
    torch.manual_seed(settings.seed)
    stored = directory / "start.pt"
    if not stored.exists():
        rng = random.Random("choice head")
        pairs = [
            (text, tool_meaning(known.tool))
            for known in sources.seen_tools
            for text in rng.sample(known.utterances["train"], min(settings.requests, len(known.utterances["train"])))
        ]
        described = sources.seen_described_tools
        pairs += [
            (rng.choice(known.utterances["train"]), tool_meaning(known.tool))
            for known in rng.sample(described, min(settings.described_tools, len(described)))
        ]
        texts, meanings = [text for text, _ in pairs], sorted({meaning for _, meaning in pairs})
        vectors = encoder.encode(meanings)
        tools = vectors[[meanings.index(meaning) for _, meaning in pairs]]
        read = answers.read(texts, head.config.first_layer)
        directions = code_directions(answers.model, answers.code_rows)
        start_head(head, read, encoder.encode(texts), tools, directions, settings)
        _choose_strength(head, answers, encoder, mixture, settings)
        directory.mkdir(parents=True, exist_ok=True)
        torch.save(head.state_dict(), stored)
    head.load_state_dict(torch.load(stored, weights_only=True))
    # A step of Adam moves every number by the learning rate, whatever its size: so each tensor has its own.
    groups = [
        {"params": [tensor], "lr": settings.learning_rate * _size(name, head) * (0.1 if name in ("a", "b") else 1.0)}
        for name, tensor in head.named_parameters()
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=settings.weight_decay)

    def step(number: int) -> tuple[Tensor, int]:
        rng = random.Random(f"choice head/{settings.seed}/{number}")
        sets = [draw_closed_set(rng, mixture, "train", settings.inputs) for _ in range(settings.sets)]
        return score_sets(head, answers, encoder, sets)[0], 0

    run = Run(directory, "choice head", settings.seed, Schedule(settings.steps, settings.warmup))
    return run_training(run, dict(head.named_parameters()), [optimizer], step, stop_after)


def score_sets(
    head: ChoiceHead, answers: ChoiceAnswers, encoder: SentenceEncoder, sets: Sequence[ClosedSet]
) -> tuple[Tensor, Tensor]:
    """Mean cross entropy among the codes of each set, and whether each input is answered right, (sets, inputs)."""
    meanings = encoder.read([each.choices for each in sets])
    keys = head(meanings)
    logits = answers.logits(answers.encode([text for each in sets for text in each.inputs]), head, keys)
    inputs = len(sets[0].inputs)
    logits = logits.masked_fill(~meanings.mask.repeat_interleave(inputs, 0), -1e9)
    wanted = torch.tensor([number for each in sets for number in each.wanted])
    return nn.functional.cross_entropy(logits, wanted), (logits.argmax(-1) == wanted).unflatten(0, (-1, inputs))


@torch.no_grad()
def _choose_strength(
    head: ChoiceHead,
    answers: ChoiceAnswers,
    encoder: SentenceEncoder,
    mixture: Mixture,
    settings: ChoiceHeadSettings,
) -> None:
    rng = random.Random("strength")
    sets = [draw_closed_set(rng, mixture, "train", settings.inputs) for _ in range(settings.sets)]
    losses = []
    for strength in settings.strengths:
        _scale_keys(head, strength)
        losses.append(float(score_sets(head, answers, encoder, sets)[0]))
        _scale_keys(head, 1 / strength)
    _scale_keys(head, settings.strengths[losses.index(min(losses))])


@torch.no_grad()
def _scale_keys(head: ChoiceHead, factor: float) -> None:
    for tensor in (head.of_choice.weight, head.of_choice.bias, head.of_examples.weight):
        tensor.mul_(factor)


def _size(name: str, head: ChoiceHead) -> float:
    """Root mean square of a parameter; of one that starts at zero, that of the map beside it."""
    tensor = head.get_parameter(name).detach()
    size = float(tensor.square().mean().sqrt())
    return size or float(head.of_choice.weight.detach().square().mean().sqrt())
