"""A start at which names are already bound to meanings: A reads what an input means, B writes tokens.

Ridge regression from what a late feed-forward layer reads, at the last token before the answer, to the encoder's
vector of the right tool finds unseen tools in 85 of 100 sets (lab log of 2026-11-28). So A starts as such a regression,
keys as the encoder's principal directions, values as those of the edge model's output embedding, and B as the way back.
Each layer takes other directions of both, so that together they cover them.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from cloud_service.generator.chat_format import question_ids
from cloud_service.generator.prompt_encoder import pad_right
from training.data.families import Sources
from training.memory.edge import PROJECTIONS, SplitEdge
from training.memory.generator import Generator
from training.memory.pieces import tool_text
from training.memory.slots import PieceEncoder

REQUESTS_OF_TOOL = 6
DESCRIBED_TOOLS = 600
PROBED_AT_ONCE = 32
MEMORY_LAYERS = 1 / 3  # the last third of the layers holds the memory at first: names are written there
AMPLITUDE = 10.0
READ_STEPS = 10.0  # A counts in a tenth of what it reads, so a step of the optimizer cannot change it by its own size
RIDGE = 0.3
OTHERS = 0.01  # strength where the memory does not start
KIND_WEIGHTS = (-3.0, -4.0, 2.0, -3.0, 0.0, 2.0)  # names of tools and labels are what is bound first
EVERY_SPELLING = 7  # a seventh of the vocabulary gives the same principal directions


@dataclass(frozen=True, slots=True)
class Activations:
    """What inputs mean, and what the edge model makes of them.

    Attributes:
        requests: (inputs, encoder) float32, meaning of each input.
        tools: (inputs, encoder) float32, meaning of the right tool.
        read: By layer and projection (`gate`, which `up` shares, or `down`), (inputs, in) float16: what the projection
            reads at the last token before the answer.
    """

    requests: Tensor
    tools: Tensor
    read: dict[tuple[int, str], Tensor]


def load_activations(
    path: Path, sources: Sources, edge: SplitEdge, tokenizer: PreTrainedTokenizerBase, encoder: PieceEncoder
) -> Activations:
    """Activations on requests to seen tools; kept in a file, which a second call reads."""
    if not path.exists():
        rng = random.Random("activations")
        pairs = []
        for known in sources.seen_tools:
            requests = known.utterances["train"]
            pairs += [
                (text, tool_text(known.tool)) for text in rng.sample(requests, min(REQUESTS_OF_TOOL, len(requests)))
            ]
        for known in rng.sample(sources.described_tools, min(DESCRIBED_TOOLS, len(sources.described_tools))):
            pairs.append((rng.choice(known.utterances["train"]), tool_text(known.tool)))
        found = collect_activations(pairs, edge, tokenizer, encoder)
        tensors = {f"{layer}.{projection}": x for (layer, projection), x in found.read.items()}
        temporary = path.with_suffix(".tmp")
        save_file(tensors | {"requests": found.requests, "tools": found.tools}, temporary)
        temporary.replace(path)
    stored = load_file(path)
    requests, tools = stored.pop("requests"), stored.pop("tools")
    read = {(int(name.split(".")[0]), name.split(".")[1]): x for name, x in stored.items()}
    return Activations(requests, tools, read)


@torch.no_grad()
def collect_activations(
    pairs: Sequence[tuple[str, str]], edge: SplitEdge, tokenizer: PreTrainedTokenizerBase, encoder: PieceEncoder
) -> Activations:
    """Activations on pairs of an input and the text of the right tool."""
    encoded = [question_ids(tokenizer, text) for text, _ in pairs]
    order = sorted(range(len(pairs)), key=lambda n: len(encoded[n]))
    read: dict[tuple[int, str], Tensor] = {}
    for start in range(0, len(order), PROBED_AT_ONCE):
        group = order[start : start + PROBED_AT_ONCE]
        ids, lengths = pad_right([encoded[n] for n in group])
        seen: dict[tuple[int, str], Tensor] = {}
        edge.upper(edge.lower(ids), None, seen)
        for key, x in seen.items():
            kept = read.setdefault(key, torch.zeros(len(pairs), x.shape[-1], dtype=torch.float16))
            kept[group] = x[torch.arange(len(group)), lengths - 1].half()
    requests, tools = ([pair[n] for pair in pairs] for n in (0, 1))
    return Activations(encoder.encode_texts(requests), encoder.encode_texts(tools), read)


@torch.no_grad()
def start_warm(generator: Generator, activations: Activations, norm_weight: Tensor, strength: float) -> None:
    """Sets keys, values, A and B of a fresh generator in place.

    Args:
        generator: Fresh.
        activations: On inputs of training.
        norm_weight: (hidden,) of the edge model's final norm.
        strength: Of the memory in the layers that hold it.
    """
    shape, bank = generator.shape, generator.bank
    # 1. Keys: principal directions of meanings, half whitened, (keys, encoder). `wanted` is what A has to read of an
    #    input, (inputs, keys): between the meaning of the input and that of its tool.
    both = torch.cat([activations.requests, activations.tools])
    mean = both.mean(0)
    generator.mean_meaning.copy_(mean)
    _, spread, way = torch.linalg.svd(both - mean, full_matrices=False)
    keys = way[: shape.keys] * (spread[: shape.keys] / len(both) ** 0.5).clamp(min=1e-6).rsqrt()[:, None]
    wanted = ((activations.requests + activations.tools) / 2 - mean) @ keys.T
    unit = wanted.norm(dim=1).mean()
    generator.key_of_meaning.weight.copy_(keys / unit)
    wanted = wanted / unit
    # 2. Values: principal directions of what, added to the last state, makes a token likelier, (values, hidden).
    raised = generator.centred_spelling(torch.arange(generator.vocabulary)) * norm_weight
    raised = raised - raised.mean(0)
    _, size, axes = torch.linalg.svd(raised[::EVERY_SPELLING], full_matrices=False)
    size, axes = size[: shape.values], axes[: shape.values]
    generator.value_of_spelling.weight.copy_(
        (size.mean() / size)[:, None] * axes * norm_weight / raised.norm(dim=1).mean()
    )
    # 3. Each layer: other directions of both, A by ridge regression onto its keys, B back from its values.
    for layer in range(shape.first, shape.layers):
        n = layer - shape.first
        to_key, to_value = _directions(shape.rank, shape.keys, 7 * layer), _directions(shape.rank, shape.values, layer)
        for group, projection in enumerate(PROJECTIONS):
            generator.to_key[n, group].copy_(to_key)
            generator.to_value[n, group].copy_(to_value * (shape.values / shape.rank) ** 0.5)
            x = activations.read[layer, "down" if projection == "down" else "gate"].float()
            gram = x.T @ x
            gram.diagonal().add_(RIDGE * gram.diagonal().mean())
            a = torch.linalg.solve(gram, x.T @ wanted).T  # (keys, in)
            reach = x.abs().sum(1).mean() / READ_STEPS
            bank.reach(projection)[n] = reach
            bank.a[projection][n].copy_(to_key.T @ a * reach)
            generator.strength[n, group] = OTHERS
            if projection == "down":
                bank.b[projection][n].copy_(AMPLITUDE * axes.T @ to_value)
                holds = layer >= shape.layers * (1 - MEMORY_LAYERS)
                generator.strength[n, group] = strength if holds else 0.05 * strength
    generator.latent_value.weight.mul_(0.02)
    generator.weight_of_kind.weight[:, 0] = torch.tensor(KIND_WEIGHTS)


def _directions(count: int, among: int, seed: int) -> Tensor:
    """(among, count) orthonormal columns."""
    q, _ = torch.linalg.qr(torch.randn(among, among, generator=torch.Generator().manual_seed(seed)))
    return q[:, :count]
