"""What a slot does for several clients at once, on the default edge model: all ways in one run, on the same threads.

- One client against a plain loop of llama-cpp-python: tokens/s of greedy answers, measured as a client of the slot sees
  them, without HTTP. The baseline is the loop.
- Eight clients: tokens/s together. The baseline is one client; the target is twice that loop, because a server around
  it (`python -m llama_cpp.server`) answers its clients one after another.
- A short prompt (a question of some 30 tokens) beside a long prompt that is being computed, and beside a long answer
  that is being written: time to its first token, as the median of several moments of one long request. The baseline is
  its time alone, which is also the target's third.
- Answers at temperature 0: the share of eight clients' answers that are those of a client alone.

Figures are medians over rounds, in which the ways take turns; the first round warms up. A round takes half a minute on
two cores, which must be idle.

    python -m benchmarks.shared_slot [--rounds 3] [--sequences 4] [--model FILE.gguf] [--threads 1]
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import llama_cpp

from benchmarks.errors import BenchmarkError
from benchmarks.figures import FACTOR, Figure, Figures, print_figures
from edge_runtime.config import EdgeSettings
from edge_runtime.serving.completion import CompletionRequest, TextPrompt
from edge_runtime.serving.completion_job import CompletionJob
from edge_runtime.serving.engine import GREEDY
from edge_runtime.serving.events import Finished, TextPiece
from edge_runtime.serving.llama import LlamaLoader
from edge_runtime.serving.worker import Worker
from loragen.default_pair import DEFAULT_PAIR
from loragen.packages import find_packaged_model

ROUNDS = 3
CLIENTS = 8
ANSWER_TOKENS = 64
CONTEXT_TOKENS = 2048
LEAST_SINGLE = 0.95
LEAST_TOGETHER = 2.0
MOST_WAIT = 3.0
MOMENTS = 5

_COMMAND = "python -m benchmarks.shared_slot"
_SHORT = "Question: my parcel has not come yet, and the shop says that it was sent last Monday. What can I do? Answer:"
_LONG = "The river was high, and the people of the village carried what they had up to the church on the hill. " * 60
_TOPICS = ("a river", "the moon", "an old king", "bread", "a small ship", "winter", "my garden", "the first train")


@dataclass(slots=True)
class StreamedAnswer:
    """One answer.

    Attributes:
        text: What it says.
        tokens: How long it is.
        first_seconds: From the request to its first text.
    """

    text: str = ""
    tokens: int = 0
    first_seconds: float = 0.0


def run(rounds: int = ROUNDS, sequences: int = 0, model: Path | None = None, threads: int = 0) -> Figures:
    """Measure a model.

    Args:
        rounds: Rounds that count.
        sequences: Of the slot; 0 for as many as a device has.
        model: GGUF file; None for the default edge model.
        threads: 0 for as many as a device takes.

    Raises:
        FileNotFoundError: The package of the default edge model is not installed.
        BenchmarkError: Answers end at once.
    """
    settings = EdgeSettings(threads=threads)
    path = model or find_packaged_model(DEFAULT_PAIR.edge_model)
    return asyncio.run(_measure(path, rounds, sequences or settings.sequences, settings.effective_threads))


async def _measure(model: Path, rounds: int, sequences: int, threads: int) -> Figures:
    loader = LlamaLoader(CONTEXT_TOKENS, threads, sequences=sequences)
    engine = loader.load(model, None)
    worker = Worker(engine, 4 * CLIENTS, "shared-slot")
    plain = llama_cpp.Llama(str(model), n_ctx=CONTEXT_TOKENS, n_threads=threads, n_threads_batch=threads, verbose=False)
    prompts = [f"{number}. A long story about {topic}." for number, topic in enumerate(_TOPICS)]
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    try:
        for number in range(rounds + 1):
            if number == 1:
                found.clear()
            note("plain", _plain_speed(plain, prompts[0]))
            alone = [await _answer(worker, prompt) for prompt in prompts]
            note("one", statistics.median(each.tokens / seconds for each, seconds in alone))
            started = time.perf_counter()
            together = await asyncio.gather(*(_answer(worker, prompt) for prompt in prompts))
            note("all", sum(each.tokens for each, _ in together) / (time.perf_counter() - started))
            pairs = zip(together, alone, strict=True)
            note("same", sum(one.text == other.text for (one, _), (other, _) in pairs) / CLIENTS)
            short = statistics.median([await _first_seconds(worker, MOMENTS * number + at) for at in range(MOMENTS)])
            note("short", short)
            for name, prompt, tokens in (("prompt", f"{number} {_LONG}", 1), ("answer", f"{number} Once", 500)):
                beside = worker.submit(CompletionRequest(TextPrompt(prompt), GREEDY, tokens))
                note(name, await _first_seconds_beside(worker, beside, short, 100 * (number + 1)))
    finally:
        await asyncio.to_thread(worker.close)
        plain.close()
    return _figures({name: statistics.median(values) for name, values in found.items()}, sequences)


def _plain_speed(llama: llama_cpp.Llama, prompt: str) -> float:
    """Tokens a second of the library's own loop, after the first token as below."""
    count, started = 0, 0.0
    for _ in llama.generate(llama.tokenize(prompt.encode()), top_k=1, temp=0.0, repeat_penalty=1.0):
        started = started or time.perf_counter()
        if (count := count + 1) == ANSWER_TOKENS:
            break
    return (count - 1) / (time.perf_counter() - started)


async def _answer(worker: Worker, prompt: str) -> tuple[StreamedAnswer, float]:
    """An answer, and the seconds that its tokens after the first took."""
    started = time.perf_counter()
    answered = await _read(worker.submit(CompletionRequest(TextPrompt(prompt), GREEDY, ANSWER_TOKENS)), started)
    if answered.tokens < ANSWER_TOKENS // 2:
        raise BenchmarkError(f"expected answers of {ANSWER_TOKENS} tokens, found one of {answered.tokens}")
    return answered, time.perf_counter() - started - answered.first_seconds


async def _first_seconds(worker: Worker, number: int) -> float:
    """Time to the first token of a short prompt whose beginning is in no cache."""
    started = time.perf_counter()
    request = CompletionRequest(TextPrompt(f"{number} {_SHORT}"), GREEDY, 2)
    return (await _read(worker.submit(request), started)).first_seconds


async def _first_seconds_beside(worker: Worker, beside: CompletionJob, short: float, number: int) -> float:
    """The same beside a request that is being answered, which ends with it: the median over its time."""
    reading = asyncio.create_task(_read(beside, 0.0))
    await asyncio.sleep(10 * short)  # until a long prompt is in its large chunks
    found: list[float] = []
    while not found or (len(found) < MOMENTS and not reading.done()):
        await asyncio.sleep(0.7 * len(found) % 1 * short)  # each in another part of a chunk
        found.append(await _first_seconds(worker, number + len(found)))
    beside.cancel()
    await reading
    return statistics.median(found)


async def _read(job: CompletionJob, started: float) -> StreamedAnswer:
    answered = StreamedAnswer()
    async for event in job.events():
        match event:
            case TextPiece(text=text):
                answered.first_seconds = answered.first_seconds or time.perf_counter() - started
                answered.text += text
            case Finished(completion_tokens=tokens):  # at once where the first token ends the answer
                answered.first_seconds = answered.first_seconds or time.perf_counter() - started
                answered.tokens = tokens
    return answered


def _figures(found: dict[str, float], sequences: int) -> Figures:
    def of(value: float, unit: str, baseline: float | None, target: float | None) -> Figure:
        return Figure.of(value, unit, f"{_COMMAND} --sequences {sequences}", baseline=baseline, target=target)

    short = 1_000 * found["short"]
    return {
        "slot_tokens_per_second": of(found["one"], "tokens/s", found["plain"], None),
        "slot_single_stream": of(found["one"] / found["plain"], FACTOR, None, LEAST_SINGLE),
        "slot_8_clients_tokens_per_second": of(found["all"], "tokens/s", found["one"], None),
        "slot_8_clients": of(found["all"] / found["plain"], FACTOR, None, LEAST_TOGETHER),
        "slot_first_token_beside_prompt": of(1_000 * found["prompt"], "ms", short, MOST_WAIT * short),
        "slot_first_token_beside_answer": of(1_000 * found["answer"], "ms", short, MOST_WAIT * short),
        "slot_same_answers": of(found["same"], FACTOR, None, None),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--sequences", type=int, default=0, help="default: as a device")
    parser.add_argument("--threads", type=int, default=0, help="default: as a device")
    parser.add_argument("--model", type=Path, default=None, metavar="FILE", help="default: the default edge model")
    options = parser.parse_args(argv)
    print_figures(run(options.rounds, options.sequences, options.model, options.threads))


if __name__ == "__main__":
    main()
