"""Slots together compute with no more threads than there are processors, and have the same time."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.serving.completion import CompletionRequest, TextPrompt, complete_alone
from edge_runtime.serving.engine import GREEDY
from edge_runtime.serving.llama import LlamaLoader
from edge_runtime.serving.thread_budget import ThreadBudget, ThreadShare


class Meter:
    """How many threads compute at once, and how long each slot did."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    def step(self, name: str, threads: int, seconds: float) -> None:
        with self._lock:
            self.now += threads
            self.most = max(self.most, self.now)
        time.sleep(seconds)
        with self._lock:
            self.now -= threads
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds


def _in_threads(*work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=each, daemon=True) for each in work]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=30)
        assert not each.is_alive()


def _slot(budget: ThreadBudget, meter: Meter, name: str, threads: int, seconds: float, until: float) -> None:
    share = budget.share()
    while time.monotonic() < until:
        with share.taken(threads):
            meter.step(name, threads, seconds)
        time.sleep(0.0005)  # a token is chosen
    share.close()


@pytest.mark.parametrize(("processors", "threads", "most"), [(2, 2, 2), (4, 2, 4), (4, 3, 3), (2, 4, 4), (2, 1, 5)])
def test_no_more_threads_compute_than_there_are_processors(processors: int, threads: int, most: int) -> None:
    """A slot that wants more than all has them alone; slots of one thread wait for nobody."""
    budget, meter, until = ThreadBudget(processors), Meter(), time.monotonic() + 0.3
    _in_threads(*[lambda name=name: _slot(budget, meter, name, threads, 0.01, until) for name in "abcde"])
    assert meter.most == most


def test_long_steps_get_no_more_time_than_short_ones() -> None:
    """One slot computes prompts, in steps of 40 ms, the other writes an answer, in steps of 4 ms."""
    budget, meter, until = ThreadBudget(2), Meter(), time.monotonic() + 1.2
    _in_threads(
        lambda: _slot(budget, meter, "prompts", 2, 0.04, until),
        lambda: _slot(budget, meter, "answer", 2, 0.004, until),
    )
    assert 0.5 < meter.seconds["answer"] / meter.seconds["prompts"] < 2


def test_slot_that_was_idle_saved_nothing_up() -> None:
    budget, meter = ThreadBudget(2), Meter()
    start = time.monotonic()

    def late() -> None:
        time.sleep(0.5)
        _slot(budget, meter, "late", 2, 0.01, start + 1.0)

    _in_threads(lambda: _slot(budget, meter, "early", 2, 0.01, start + 1.0), late)
    # Together they had half a second: if the one had a claim to the time before, it would have had all of it.
    assert meter.seconds["early"] > 0.5 + 0.1
    assert meter.seconds["late"] > 0.1


class StandingTime:
    """Time that moves only within a step."""

    def __init__(self) -> None:
        self.now = 0.0

    def step(self, share: ThreadShare, seconds: float) -> None:
        with share.taken(2):
            self.now += seconds


def test_slot_that_worked_owes_nothing_to_one_that_began_while_it_was_idle() -> None:
    """Otherwise it would wait until the new one had computed for as long as itself."""
    time_ = StandingTime()
    budget = ThreadBudget(2, lambda: time_.now)
    early, late = budget.share(), budget.share()
    time_.step(early, 3_600.0)
    time_.now += 1.0
    time_.step(late, 0.004)
    _in_threads(lambda: time_.step(early, 0.004))


@pytest.mark.parametrize(("processors", "waits"), [(3, True), (4, False)])
def test_slot_leaves_others_what_they_take_and_no_more(processors: int, waits: bool) -> None:
    """Where there are threads for both, as on a GPU, the one that had more does not wait for the other's next step."""
    time_ = StandingTime()
    budget = ThreadBudget(processors, lambda: time_.now)
    more, less = budget.share(), budget.share()
    time_.step(less, 0.001)
    time_.step(more, 0.003)
    thread = threading.Thread(target=lambda: time_.step(more, 0.001), daemon=True)
    thread.start()
    thread.join(timeout=0.3 if waits else 30)
    assert thread.is_alive() is waits
    time_.now += 1.0  # nobody is between two steps any more
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_slot_that_ends_or_fails_holds_nobody_up() -> None:
    budget = ThreadBudget(2)
    one, other = budget.share(), budget.share()
    with pytest.raises(RuntimeError), one.taken(2):
        raise RuntimeError
    one.close()
    with other.taken(2):
        time.sleep(0.05)
    started = time.monotonic()
    with other.taken(2):
        pass
    assert time.monotonic() - started < 1


def test_engines_of_one_loader_share_a_budget(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter()
    loader = LlamaLoader(context_tokens=64, threads=2, processors=2)
    engines = [loader.load(tiny_base, None) for _ in range(3)]
    from edge_runtime.serving.llama_context import LlamaContext

    compute = LlamaContext.compute

    def measured(context: LlamaContext, *arguments: object) -> None:
        meter.step("any", 2, 0.002)
        compute(context, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(LlamaContext, "compute", measured)
    request = CompletionRequest(TextPrompt("The quick brown"), GREEDY, 8)
    answers: list[object] = []
    _in_threads(*[lambda engine=engine: answers.append(list(complete_alone(engine, request))) for engine in engines])
    for engine in engines:
        engine.close()
    assert len(answers) == 3
    assert meter.most == 2
