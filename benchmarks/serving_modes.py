"""What a specialization costs and is worth attached at run time, and merged: on the default edge model.

The specialization is a random LoRA of rank 8 in gate, up and down that changes each matrix by about 3 %. One client,
one sequence, the device's own engine and its number of threads, without HTTP. The base alone stands beside the two.

- decode: tokens/s of a greedy answer; prefill: tokens/s of a prompt that nothing is cached of.
- memory: what a second specialization adds to the resident memory of a process that serves a first one, with a context
  of 512 tokens; disk: its file.
- KL, top-1: over the texts of `benchmarks.quantization_types`, against the same LoRA merged into the model widened to
  F16: divergence in nats, and how often the likeliest token is the same. The base has no LoRA, and shows what the LoRA
  changes.
- `thirty_specializations_mb`: resident memory of a device that has the limits of one with 1 GB, with thirty attached
  specializations, each of which has been asked. The target is those 1,000 MB.

    python -m benchmarks.serving_modes [--rounds 5] [--threads 1] [--texts 20]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figure, Figures
from benchmarks.memory import status_bytes
from benchmarks.quantization_types import F16Reference, Model, inputs_of_the_demo, random_factors, write_wide
from benchmarks.swaps import following_device, random_bundle
from edge_runtime.config import EdgeSettings
from edge_runtime.gguf.base_gguf import BaseGguf, find_base_gguf
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge import merge
from edge_runtime.serving.completion import CompletionRequest, TextPrompt, TokenPrompt, complete_alone
from edge_runtime.serving.engine import GREEDY, Engine
from edge_runtime.serving.events import Finished, Started
from edge_runtime.serving.llama import LlamaLoader
from loragen.contract.digest import model_digest
from loragen.contract.gguf_adapter import GgufModel, write_gguf_adapter
from loragen.contract.lora import Lora
from loragen.default_pair import DEFAULT_PAIR

ROUNDS = 5
TEXTS = 20
PROMPT_TOKENS, ANSWER_TOKENS = 256, 64
CONTEXT_TOKENS = 512
SPECIALIZATIONS = 30
MOST_MB = 1_000.0

_COMMAND = "python -m benchmarks.serving_modes"
_STRIDE = 997
_FIRST_WORD = 1_000
"""Lower tokens of the vocabulary are control tokens and bytes."""


@dataclass(frozen=True, slots=True)
class Mode:
    """One line of the table; what the base alone has none of is None."""

    name: str
    decode: float
    prefill: float
    memory_mb: float | None
    disk_mb: float | None
    kl: float
    top_1: float


def measure(
    rounds: int = ROUNDS, threads: int = 0, texts: int = TEXTS, model: str = DEFAULT_PAIR.edge_model
) -> list[Mode]:
    """The base, attached, merged.

    Raises:
        BenchmarkError: A process that is measured failed.
    """
    base = find_base_gguf(Path(model))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = [_make(base, folder, number) for number in range(2)]
        reference = F16Reference(Model(folder / "reference.gguf"), inputs_of_the_demo(texts))
        adapter, merged = pairs[0]
        ways: list[tuple[str, Path, Path | None]] = [
            ("base", base, None),
            ("attached", base, adapter),
            ("merged", merged, None),
        ]
        loader = LlamaLoader(CONTEXT_TOKENS, threads or EdgeSettings().effective_threads)
        speeds = [_speeds(loader.load(path, lora), rounds) for _, path, lora in ways]
        found = []
        for (way, path, lora), (decode, prefill) in zip(ways, speeds, strict=True):
            agreement = reference.agreement(Model(path, lora))
            memory = None if way == "base" else _memory_mb(base, [each[way == "merged"] for each in pairs], way)
            disk = None if way == "base" else (lora or path).stat().st_size / 1e6
            found.append(Mode(way, decode, prefill, memory, disk, agreement.kl, agreement.top_1))
        return found


def _make(base: Path, folder: Path, number: int) -> tuple[Path, Path]:
    """An adapter and a merged model of one LoRA; of the first one, the reference too."""
    with BaseGguf(base) as base_gguf:
        digest, gguf_model = base_gguf.digest or model_digest(base), GgufModel.of(base_gguf.header)
        factors = {
            block: (a.astype(np.float16), b.astype(np.float16))
            for block, (a, b) in random_factors(base_gguf, number).items()
        }
        bundle = replace(random_bundle(digest, base_gguf.shape, number), lora=Lora(base_gguf.shape, factors))
        if number == 0:
            write_wide(base_gguf, folder / "wide.gguf")
    adapter, merged = folder / f"adapter-{number}.gguf", folder / f"merged-{number}.gguf"
    write_gguf_adapter(bundle, adapter, gguf_model)
    merge(base, bundle, merged, Quantization.Q4_K, admitted_digest=digest)
    if number == 0:
        merge(folder / "wide.gguf", bundle, folder / "reference.gguf", Quantization.F16, admitted_digest=digest)
    return adapter, merged


def _speeds(engine: Engine, rounds: int) -> tuple[float, float]:
    """Tokens/s of decoding and of prefilling: medians."""
    decode, prefill = [], []
    for number in range(rounds + 1):
        first = _FIRST_WORD + _STRIDE * number  # nothing of it is cached
        prompt = tuple(range(first, first + PROMPT_TOKENS))
        started = begun = time.perf_counter()
        tokens = 0
        for event in complete_alone(engine, CompletionRequest(TokenPrompt(prompt), GREEDY, ANSWER_TOKENS)):
            if isinstance(event, Started):
                begun = time.perf_counter()
            elif isinstance(event, Finished):
                tokens = event.completion_tokens
        if tokens < 2:
            continue
        prefill.append(PROMPT_TOKENS / (begun - started))
        decode.append(tokens / (time.perf_counter() - begun))
    engine.close()
    if len(decode) < 2:
        raise BenchmarkError("the model ends its answers at once")
    return statistics.median(decode[1:]), statistics.median(prefill[1:])


def _memory_mb(base: Path, files: Sequence[Path], way: str) -> float:
    """What the second of two adds, in a process that has loaded nothing else."""
    code = "from benchmarks.serving_modes import measure_memory; measure_memory()"
    done = subprocess.run(
        [sys.executable, "-c", code, way, str(base), *map(str, files)], capture_output=True, check=False, text=True
    )
    if done.returncode:
        raise BenchmarkError(f"the process whose memory is measured failed: {done.stderr[-500:]}")
    first, second = json.loads(done.stdout.splitlines()[-1])
    return float(second - first) / 1e6


def measure_memory() -> None:
    """Print the resident bytes with one, and with two specializations, each of which has answered."""
    way, base, *files = sys.argv[1:]
    loader, engines, found = LlamaLoader(CONTEXT_TOKENS, 1), [], []
    for file in files:
        paths = (Path(base), Path(file)) if way == "attached" else (Path(file), None)
        engines.append(loader.load(*paths))
        list(complete_alone(engines[-1], CompletionRequest(TextPrompt("The weather"), GREEDY, 8)))
        found.append(status_bytes("VmRSS"))
    print(json.dumps(found))


def thirty(model: str = DEFAULT_PAIR.edge_model, count: int = SPECIALIZATIONS) -> float:
    """Resident MB of a device that has answered for so many specializations."""
    limits = {"MAX_MODEL_BYTES": str(512 * 10**6), "MAX_CONTEXT_BYTES": str(256 * 10**6), "SERVING_MODE": "attached"}
    with following_device(model, {**limits, "POLL_INTERVAL_SECONDS": "1"}) as (cloud, device):
        wanted = {f"task-{number}": cloud.publish(f"task-{number}") for number in range(count)}
        for name, bundle_id in wanted.items():
            device.wait_until_serving(name, bundle_id, timeout_seconds=600)
        for name in wanted:
            device.complete(name, "The weather", max_tokens=4)
        memory = device.status().memory_bytes
    if memory is None:
        raise BenchmarkError("the system does not say how much memory the device has")
    return memory / 1e6


def render(modes: Sequence[Mode]) -> str:
    """A Markdown table."""
    lines = [
        "| mode | decode, tokens/s | prefill, tokens/s | memory, MB | disk, MB | KL | top-1 |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.name} | {each.decode:.1f} | {each.prefill:.0f} | {_shown(each.memory_mb)} | {_shown(each.disk_mb)} "
        f"| {each.kl:.3f} | {each.top_1:.1%} |"
        for each in modes
    ]
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def run() -> Figures:
    """Measure all of it as figures.

    Raises:
        BenchmarkError, ClientError: A process that is measured failed.
    """
    units = {"decode": "tokens/s", "prefill": "tokens/s", "memory_mb": "MB", "disk_mb": "MB", "kl": "nats", "top_1": ""}
    found = {
        f"mode_{mode.name}_{name}": Figure.of(asdict(mode)[name], unit, _COMMAND)
        for mode in measure()
        for name, unit in units.items()
        if asdict(mode)[name] is not None
    }
    return {**found, "thirty_specializations_mb": Figure.of(thirty(), "MB", _COMMAND, target=MOST_MB)}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=0, help="default: as a device")
    parser.add_argument("--texts", type=int, default=TEXTS)
    parser.add_argument("--without-thirty", action="store_true", help="without the device that has so many")
    options = parser.parse_args(argv)
    print(render(measure(options.rounds, options.threads, options.texts)))
    if not options.without_thirty:
        print(f"\n{SPECIALIZATIONS} attached specializations: {thirty():.0f} MB resident")


if __name__ == "__main__":
    main()
