"""Helper: a deterministic generator without a model: gates and keys from the hash of the prompt, over a real bank."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from cloud_service.generation import Asked, Confidence, EdgeScores, Generation, GeneratorInfo
from cloud_service.refinement import ExampleScore, OnProgress, RefinementOutcome, RefinePlan
from cloud_service.task import Example
from loragen.contract.answer import TEXT_ANSWER, AnswerContract
from loragen.contract.bank import Bank, BankHeader, write_bank
from loragen.contract.choice_head import ChoiceHeadLayout
from loragen.contract.digest import sha256_hex
from loragen.contract.lora import EdgeShape, Linears, Lora
from loragen.contract.recipe import Recipe

SHAPE = EdgeShape(layers=2, hidden=8, intermediate=12)
ATTENTION = {"q": (8, 16), "k": (8, 4), "v": (8, 4), "o": (16, 8)}
LINEARS = {
    (layer, name): ATTENTION[name] if name in ATTENTION else SHAPE.in_out(name) for layer, name in SHAPE.linears()
}
EXPERTS = 4
HEAD = ChoiceHeadLayout(first_layer=1, rank=2, codes=(7, 5, *range(10, 73)))
CHOICE = AnswerContract("choice", ("billing", "dëlivery"), HEAD.codes[:2])
CHOOSE = "Answer billing or dëlivery."
"""A description that names a closed set, and what generations for it say of their answers."""

CLOUD_DIGEST = sha256_hex(b"cloud model")
EDGE_DIGEST = sha256_hex(b"edge model")

PROBE = [{"input": "echo", "output": "echo"}, {"input": "ping", "output": "pong"}]
PROBED = {
    "base": {"exact_match": 0.0, "log_likelihood": -8.0},
    "specialized": {"exact_match": 0.5, "log_likelihood": -7.0},
}
"""A probe, and what `FakeProbe` scores on it."""


class FakeGenerator:
    """Implements `LoadedGenerator`.

    Attributes:
        batches: The prompts of each call.
        threads: Names of the threads that called.
        gate: While cleared, calls block; set at first.
        calibrated: Whether generations have a confidence: low for prompts with NONSENSE, unfamiliar with FAR.
        residual_prompt_words: Words of the longest residual prompt; 0 at first, for none.
        probes: The probes that were loaded.
        tuners: The tuners that were loaded.
        tuner_gate: While cleared, refinements stay at their first step; set at first.
    """

    def __init__(
        self,
        directory: Path,
        *,
        generator_id: str = "fake",
        edge_model_id: str = "tiny-edge",
        max_prompt_tokens: int = 200,
    ) -> None:
        header = BankHeader(
            generator_id=generator_id,
            edge_model_id=edge_model_id,
            edge_model_digest=EDGE_DIGEST,
            shape=SHAPE,
            groups=1,
            experts=EXPERTS,
            rank=2,
            alpha=2.0,
            mix="parameters",
            choice=HEAD,
        )
        random = np.random.default_rng(0)
        tensors = {
            name: random.standard_normal(spec.shape).astype(np.float16) for name, spec in header.tensor_specs().items()
        }
        path = directory / f"{generator_id}.bank.safetensors"
        write_bank(path, header, tensors)
        self.bank = Bank.open(path)
        self.info = GeneratorInfo(
            id=generator_id,
            digest=sha256_hex(f"{generator_id} {self.bank.digest}".encode()),
            cloud_model_id="tiny-cloud",
            cloud_model_digest=CLOUD_DIGEST,
            edge_model_id=edge_model_id,
            edge_model_digest=EDGE_DIGEST,
            layers=SHAPE.layers,
            groups=1,
            experts=EXPERTS,
            rank=2,
            alpha=2.0,
            mix="parameters",
            gating="dense",
            max_prompt_tokens=max_prompt_tokens,
            most_choices=len(HEAD.codes),
        )
        self.most_at_once: int | None = None
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()
        self._called = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.seconds = 0.0
        self.calibrated = True
        self.residual_prompt_words = 0
        self.probes: list[FakeProbe] = []
        self.tuners: list[FakeTuner] = []
        self.tuner_gate = threading.Event()
        self.tuner_gate.set()

    @property
    def linears(self) -> Linears:
        return LINEARS

    def count_tokens(self, prompt: str) -> int:
        return len(prompt.split())

    def generate(self, asked: Sequence[Asked]) -> list[Generation]:
        self.batches.append([each.prompt for each in asked])
        self.threads.add(threading.current_thread().name)
        self._called.set()
        assert self.gate.wait(20)
        time.sleep(self.seconds)
        return [self._generate(each) for each in asked]

    def _generate(self, asked: Asked) -> Generation:
        prompt = asked.prompt
        if "CRASH" in prompt:
            raise RuntimeError(f"cannot read {prompt!r}")
        seed = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8])
        gates = np.random.default_rng(seed).standard_normal((SHAPE.layers, 1, EXPERTS)).astype(np.float32)
        if "NAN" in prompt:
            gates[0, 0, 0] = np.nan
        confidence = Confidence(0.125 if "NONSENSE" in prompt else 0.875, "FAR" not in prompt)
        answer, keys = asked.answer, None
        if count := len(asked.choices):
            answer = replace(answer, codes=HEAD.codes[:count])
            keys = np.random.default_rng(seed + 1).standard_normal((1, count, HEAD.rank)).astype(np.float32)
            gates[:] = 0
        most = self.residual_prompt_words if keys is None else 0
        kept = next((text for text in asked.residual_texts if len(text.split()) <= most), "")
        return Generation(
            gates,
            len(prompt.split()),
            confidence if self.calibrated else None,
            answer,
            keys,
            kept,
            len(kept.split()),
        )

    def load_probe(self) -> "FakeProbe":
        self.probes.append(FakeProbe())
        return self.probes[-1]

    def load_tuner(self) -> "FakeTuner":
        self.tuners.append(FakeTuner(self.tuner_gate))
        return self.tuners[-1]

    def count_edge_tokens(self, text: str) -> int:
        return len(text.split())

    async def wait_until_called(self) -> None:
        """Return when `generate` was called at least once."""
        assert await asyncio.to_thread(self._called.wait, 10)

    @property
    def prompts(self) -> list[str]:
        """All prompts, in the order they were generated."""
        return [prompt for batch in self.batches for prompt in batch]


class FakeProbe:
    """Implements `EdgeProbe`: the base model fails always, a specialized one repeats its input; codes are likelier.

    Attributes:
        threads: Names of the threads that called.
        gate: While cleared, calls block; set at first.
        residual_prompts: What stood in front of the inputs of each call.
    """

    max_tokens = 20

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.residual_prompts: list[str] = []

    def count_tokens(self, example: Example, residual_prompt: str = "") -> int:
        return len(f"{residual_prompt} {example.input} {example.output}".split())

    def score(
        self,
        examples: Sequence[Example],
        lora: Lora | None,
        answer: AnswerContract = TEXT_ANSWER,
        residual_prompt: str = "",
    ) -> EdgeScores:
        self.residual_prompts.append(residual_prompt)
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(20)
        for example in examples:
            if "CRASH" in example.input:
                raise RuntimeError(f"cannot read {example.input!r}")
        right = tuple(lora is not None and example.input == example.output for example in examples)
        likelihood = float("nan") if any("NAN" in example.input for example in examples) else -8.0 + sum(right)
        return EdgeScores(right, likelihood / 4 if answer.codes else likelihood)


class FakeTuner:
    """Implements `EdgeTuner` in four steps: what it tunes gets larger by one half, unless an output is WORSE.

    Attributes:
        threads: Names of the threads that called.
        calls: The examples of each call, and how many the generator had read.
    """

    def __init__(self, gate: threading.Event) -> None:
        self.threads: set[str] = set()
        self.counts: set[int] = set()
        self.calls: list[tuple[tuple[Example, ...], int]] = []
        self._gate = gate

    def use_threads(self, count: int) -> None:
        self.counts.add(count)

    def refine(
        self, recipe: Recipe, examples: Sequence[Example], shown: int, plan: RefinePlan, on_progress: OnProgress
    ) -> tuple[Recipe, RefinementOutcome]:
        self.threads.add(threading.current_thread().name)
        self.calls.append((tuple(examples), shown))
        for step in range(4):
            on_progress(step, 4)
            while not self._gate.wait(0.02):
                on_progress(step, 4)
        on_progress(4, 4)
        if any("CRASH" in example.input for example in examples):
            raise RuntimeError(f"cannot learn {examples!r}")
        kept = not any("WORSE" in example.output for example in examples)
        before = ExampleScore(0.25, 2.0)
        after = ExampleScore(0.75, 0.5) if kept else before
        tuned: Literal["keys", "gates"] = "gates" if recipe.keys is None else "keys"
        report = RefinementOutcome(tuned, kept, len(examples), len(examples) - shown, before, after, 4, 0.125, "steps")
        if not kept:
            return recipe, report
        if recipe.keys is None:
            return replace(recipe, gates=1.5 * recipe.gates), report
        return replace(recipe, keys=1.5 * recipe.keys), report
