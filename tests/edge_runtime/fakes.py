"""Helper: stand-ins for what the edge runtime meets, time and engines, and a whole device on a temporary disk."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.bootstrap import Parts, open_parts
from edge_runtime.config import EdgeSettings
from edge_runtime.errors import ModelLoadError, ModelOutputError
from edge_runtime.serving.call_forms import HERMES_FORM, CallForm
from edge_runtime.serving.chat import PLAIN_RENDERING, ChatMessage, Rendering
from edge_runtime.serving.engine import EngineLoader, Likelihood, Sampling, Steps, Token, TokenizerInfo
from edge_runtime.updates.canary import Canary, read_answer
from edge_runtime.updates.canary_process import TrialRequest, run_trial
from edge_runtime.updates.state import Action, Command
from edge_runtime.updates.trial import Candidate, TrialReport
from loragen.contract.answer import TEXT_ANSWER, AnswerContract
from loragen.device_answers import ServedModel

LONG = 100_000.0
"""Seconds after which everything is due again."""


class FakeClock:
    """Time that stands still until it is moved; waiting moves it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.wrong_by = 0.0
        self.waits: list[float] = []

    def unix(self) -> float:
        return self.now + self.wrong_by

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def jump(self, seconds: float) -> None:
        """Set the time of day anew, so much later; what waits does not notice."""
        self.wrong_by += seconds

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        await asyncio.sleep(0)
        if event.is_set():
            return True
        self.now += seconds
        return False


@dataclass
class FakeEngine:
    """Answers with `words`, each of them a token; a code of a contract is always that of the first choice."""

    words: Sequence[bytes]
    loader: "FakeLoader"
    context_tokens: int = 64
    vocab_tokens: int = 256
    sequences: int = 1
    open_sequences: int = 0
    steps: int = 0
    closed: bool = False
    prefilled: list[list[int]] = field(default_factory=list)
    answer: AnswerContract = TEXT_ANSWER
    residual_prompt: str = ""
    chat_problem: str = ""
    call_form: CallForm = HERMES_FORM
    tokenizer: TokenizerInfo = field(default_factory=TokenizerInfo)

    def tokenize(self, text: str, bos: bool = True) -> list[int]:
        return [*([1] if bos else []), *(ord(c) % 250 + 2 for c in text)]

    def detokenize(self, tokens: Sequence[int]) -> str:
        return "".join(chr(token - 2) for token in tokens)

    def tokenize_chat(self, messages: Sequence[ChatMessage], rendering: Rendering = PLAIN_RENDERING) -> list[int]:
        tools = "".join(rendering.tools)
        return self.tokenize(tools + "".join(f"<{m.role}>{m.content}" for m in messages))[1:]

    def chat_beginning(self, system: str, rendering: Rendering = PLAIN_RENDERING) -> Sequence[int]:
        chats = ([ChatMessage("system", system), ChatMessage("user", text)] for text in ("a", "1"))
        one, other = (self.tokenize_chat(chat, rendering) for chat in chats)
        return one[: next(at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1])]

    def tokenize_answer(self, text: str, markup: bool = False) -> list[int]:
        return self.tokenize(text)[1:]

    def open(self) -> "FakeSequence":
        assert self.open_sequences < self.sequences
        self.open_sequences += 1
        return FakeSequence(self)

    def step(self) -> None:
        self.steps += 1
        time.sleep(0.0005)

    def decode(self, sampling: Sampling, max_tokens: int) -> Iterator[Token | None]:
        if sampling.codes:
            yield Token(sampling.choices[0].encode(), may_end=True)
            return
        for number, word in enumerate(list(self.words)[:max_tokens]):
            if number:
                yield None
            while not self.loader.step.is_set():
                yield None
            if word == b"NaN":
                raise ModelOutputError("the model's logits are not finite")
            if word == b"bug":
                raise RuntimeError("a bug")
            yield Token(word)

    def close(self) -> None:
        assert self.open_sequences == 0
        self.closed = True
        self.loader.open -= 1


class FakeSequence:
    """One request's part of a fake engine, which computes a prompt while the loader holds, and a word in each step."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine

    def prefill(self, prompt: Sequence[int], beginning: int = 0) -> Steps[int]:
        self.engine.prefilled.append(list(prompt))
        while not self.engine.loader.hold.is_set():
            yield
        return 0

    def extend(self, prompt: Sequence[int], beginning: int = 0) -> Steps[int]:
        return self.prefill(prompt, beginning)

    def score(self, prompt: Sequence[int], count: int) -> Steps[list[Token]]:
        yield from self.prefill(prompt)
        one = Likelihood(b"x", -0.5)
        return [Token(b"x"), *[Token(b"x", False, one, (one,) * count) for _ in prompt]]

    def probabilities(self, tokens: Sequence[int]) -> list[float]:
        return [1 / len(tokens)] * len(tokens)

    def decode(self, sampling: Sampling, max_tokens: int) -> Iterator[Token | None]:
        return self.engine.decode(sampling, max_tokens)

    def close(self) -> None:
        self.engine.open_sequences -= 1


class FakeLoader:
    """Loads engines that answer with the content of the model's file, word by word."""

    def __init__(self) -> None:
        self.engines: list[FakeEngine] = []
        self.answers: dict[str, AnswerContract] = {}
        """Answer contracts by name of a file."""
        self.residual_prompts: dict[str, str] = {}
        """Residual prompts by name of a file."""
        self.sequences = 1
        self.open = 0
        self.most_open = 0
        self.hold = threading.Event()
        self.hold.set()
        self.step = threading.Event()
        self.step.set()

    def load(self, model: Path, adapter: Path | None) -> FakeEngine:
        try:
            text = (adapter or model).read_bytes()
        except OSError as error:
            raise ModelLoadError(f"{model.name} does not exist") from error
        if text == b"damaged":
            raise ModelLoadError(f"{model.name} is damaged")
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        engine = FakeEngine([w + b" " if w not in (b"NaN", b"bug") else w for w in text.split()], self)
        engine.sequences = self.sequences
        engine.answer = self.answers.get((adapter or model).name, TEXT_ANSWER)
        engine.residual_prompt = self.residual_prompts.get((adapter or model).name, "")
        self.engines.append(engine)
        return engine


class FlakyLoader(FakeLoader):
    """Refuses the files that `refuses` says, for as long as it does."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: Callable[[Path], bool] = lambda path: False

    def load(self, model: Path, adapter: Path | None) -> FakeEngine:
        if self.refuses(adapter or model):
            raise ModelLoadError(f"{(adapter or model).name}: cannot make a context: out of memory?")
        return super().load(model, adapter)


class TrustingCanary:
    """Tries nothing."""

    def __init__(self) -> None:
        self.tried: list[Candidate] = []
        self.report = TrialReport(2.0, 2.0)

    async def verify(self, candidate: Candidate) -> TrialReport:
        self.tried.append(candidate)
        return self.report

    def stop(self) -> None:
        pass


class ThreadCanary(TrustingCanary):
    """Tries with llama.cpp in this process, which starts faster than one of its own."""

    async def verify(self, candidate: Candidate) -> TrialReport:
        return read_answer(candidate, await asyncio.to_thread(run_trial, TrialRequest(candidate, 1, 0)))


async def eventually(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something that another thread or process does has happened."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not happened"
        await asyncio.sleep(0.005)


def make_settings(data_dir: Path, base_gguf: Path, cloud_url: str | None, **changes: Any) -> EdgeSettings:
    """Settings of a device in a test."""
    values: dict[str, Any] = {
        "data_dir": data_dir,
        "base_model": base_gguf,
        "cloud_url": cloud_url,
        "allow_unsigned": "trusted_root" not in changes,
        "quantization": "Q8_0",
        "context_tokens": 256,
        "threads": 1,
        "poll_interval_seconds": 10,
        "cloud_timeout_seconds": 5,
        "port": 0,
    }
    return EdgeSettings(**values | changes)


@asynccontextmanager
async def device(
    settings: EdgeSettings,
    clock: FakeClock | None = None,
    loader: EngineLoader | None = None,
    canary: Canary | None = None,
) -> AsyncIterator[Parts]:
    """A device that has come up and quantized its base, without an HTTP port."""
    canary = canary or (TrustingCanary() if loader else ThreadCanary())
    async with open_parts(settings, loader, clock or FakeClock(), canary) as parts:
        await parts.updater.restore()
        await parts.device.base.quantize_pending()
        yield parts


async def ask(parts: Parts, model: str, prompt: str = "The quick brown", max_tokens: int = 8) -> tuple[str, str]:
    """A greedy answer of a device's slot, and what gave it: its fingerprint, without what stands for the weights."""
    from edge_runtime.serving.completion import CompletionRequest, TextPrompt
    from edge_runtime.serving.engine import GREEDY
    from edge_runtime.serving.events import TextPiece

    async with parts.slots.lease(parts.device.slot_name(model)) as slot:
        job = slot.worker.submit(CompletionRequest(TextPrompt(prompt), GREEDY, max_tokens))
        text = "".join([event.text async for event in job.events() if isinstance(event, TextPiece)])
        return text, without_weights(slot.revision.fingerprint)


def without_weights(fingerprint: str) -> str:
    """`STATE-BUNDLE` or `STATE` of a revision's name."""
    revision, *bundle_id = fingerprint.split("-")
    return "-".join((revision.partition(".")[0], *bundle_id))


async def command(parts: Parts, action: Action, name: str = "router") -> str:
    """Let the next tick carry out a command of the owner; its answer."""
    done = parts.updater.command(Command(action, name))
    await parts.updater.tick()
    return await done


def entry(parts: Parts, name: str) -> ServedModel:
    """What the device says of one specialization."""
    return next(model for model in parts.device.models() if model.id == name)


def files(directory: Path) -> set[str]:
    """Names of what lies in a directory."""
    return {path.name for path in directory.iterdir()}
