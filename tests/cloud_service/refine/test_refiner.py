"""The refiner: one at a time, on its own thread, bounded, and ended when nobody wants the work any more."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from cloud_service.access.caller import Caller, calling
from cloud_service.errors import (
    CloudError,
    DeadlineError,
    DrainingError,
    GenerationError,
    OverloadedError,
    UsageLimitError,
)
from cloud_service.refine.refiner import Refiner
from cloud_service.refinement import RefinementOutcome, RefinePlan, ignore_progress
from cloud_service.task import Example
from cloud_service.telemetry import Metrics
from loragen.contract.recipe import Recipe
from tests.cloud_service.access.fake_store import usage_within
from tests.cloud_service.clouds import eventually
from tests.cloud_service.fake_generator import EXPERTS, SHAPE, FakeGenerator

PLAN = RefinePlan(steps=4, budget_seconds=5)
EXAMPLES = [Example(f"input {number}", "output") for number in range(8)]


@pytest.fixture
def refiner() -> Iterator[Refiner]:
    made = Refiner(max_queue=2, threads=3, usage=usage_within(share_percent=50), events=Metrics())
    yield made
    made.close()


@pytest.fixture
def recipe(generator: FakeGenerator) -> Recipe:
    info, gates = generator.info, np.ones((SHAPE.layers, 1, EXPERTS), np.float32)
    digest = generator.bank.digest
    return Recipe(info.id, info.digest, digest, info.edge_model_id, info.edge_model_digest, 3, gates)


async def refine(
    refiner: Refiner, generator: FakeGenerator, recipe: Recipe, examples: list[Example] = EXAMPLES
) -> tuple[Recipe, RefinementOutcome]:
    with refiner.reserve():
        async with refiner.turn(5):
            return await refiner.refine("fake", generator.load_tuner, recipe, examples, 2, PLAN, ignore_progress)


async def test_edge_model_is_loaded_once_and_used_on_a_slow_thread_of_its_own(
    refiner: Refiner, generator: FakeGenerator, recipe: Recipe
) -> None:
    for _ in range(2):
        refined, report = await refine(refiner, generator, recipe)
        assert (refined.gates == 1.5 * recipe.gates).all()
        assert report.kept
    (tuner,) = generator.tuners
    assert (tuner.threads, tuner.counts) == ({"refiner_0"}, {3})
    assert tuner.calls == [(tuple(EXAMPLES), 2)] * 2
    if sys.platform == "linux":
        own = await asyncio.get_running_loop().run_in_executor(refiner._thread, threading.get_native_id)
        assert os.getpriority(os.PRIO_PROCESS, own) > os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


async def test_progress_arrives_on_the_event_loop(refiner: Refiner, generator: FakeGenerator, recipe: Recipe) -> None:
    seen: list[tuple[int, int, int]] = []

    def note(done: int, total: int) -> None:
        seen.append((done, total, threading.get_ident()))

    with refiner.reserve():
        async with refiner.turn(1):
            await refiner.refine("fake", generator.load_tuner, recipe, EXAMPLES, 2, PLAN, note)
    assert [each[:2] for each in seen] == [(0, 4), *((step, 4) for step in range(5))]
    assert {each[2] for each in seen} == {threading.get_ident()}


async def test_full_queue_refuses_and_a_place_that_is_left_is_free(refiner: Refiner) -> None:
    with refiner.reserve() as first, refiner.reserve():
        with pytest.raises(OverloadedError, match="2 refinements are waiting") as refused:
            refiner.reserve()
        assert refused.value.retry_after_seconds is not None
        first.give_back()
        first.give_back()
        with refiner.reserve(), pytest.raises(OverloadedError):
            refiner.reserve()
    with refiner.reserve(), refiner.reserve():
        pass


async def test_one_tenant_leaves_a_place_to_the_others(refiner: Refiner) -> None:
    with calling(Caller("one", tenant="acme")), refiner.reserve():
        with calling(Caller("two", tenant="acme")), pytest.raises(UsageLimitError, match="1 refinements"):
            refiner.reserve()
        with calling(Caller("three")), refiner.reserve():
            pass
    with calling(Caller("two", tenant="acme")), refiner.reserve():
        pass


async def test_refinement_counts_for_the_day_and_one_too_many_does_not_run(
    generator: FakeGenerator, recipe: Recipe
) -> None:
    refiner = Refiner(max_queue=2, threads=3, usage=usage_within(refinements_per_day=1), events=Metrics())
    with calling(Caller("one")):
        await refine(refiner, generator, recipe)
        with pytest.raises(UsageLimitError, match="1 refinements"):
            await refine(refiner, generator, recipe)
    assert len(generator.tuners[0].calls) == 1
    refiner.close()


async def test_work_that_nobody_waits_for_ends_and_the_next_one_begins(
    refiner: Refiner, generator: FakeGenerator, recipe: Recipe
) -> None:
    generator.tuner_gate.clear()
    first = asyncio.create_task(refine(refiner, generator, recipe))
    await eventually(lambda: bool(generator.tuners) and bool(generator.tuners[0].calls))
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = asyncio.create_task(refine(refiner, generator, recipe))
    await eventually(lambda: len(generator.tuners[0].calls) == 2)  # though the gate was never opened for the first
    generator.tuner_gate.set()
    assert (await second)[1].kept


async def test_wait_for_others_has_an_end(refiner: Refiner, generator: FakeGenerator, recipe: Recipe) -> None:
    generator.tuner_gate.clear()
    first = asyncio.create_task(refine(refiner, generator, recipe))
    await eventually(lambda: bool(generator.tuners))
    with pytest.raises(DeadlineError, match="other refinements took"):
        async with refiner.turn(0.05):
            pass
    generator.tuner_gate.set()
    await first


async def test_closing_tells_whoever_waits_and_whoever_runs(
    refiner: Refiner, generator: FakeGenerator, recipe: Recipe
) -> None:
    generator.tuner_gate.clear()
    waiting = [asyncio.create_task(refine(refiner, generator, recipe)) for _ in range(2)]
    await eventually(lambda: bool(generator.tuners))
    refiner.close()
    outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 1)
    assert [type(outcome) for outcome in outcomes] == [DrainingError, DrainingError]
    with pytest.raises(DrainingError):
        refiner.reserve()
    generator.tuner_gate.set()


@pytest.mark.parametrize("fails", ["load", "refine"])
async def test_failure_is_a_generation_error_and_the_next_one_works(
    refiner: Refiner, generator: FakeGenerator, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    examples = EXAMPLES
    with monkeypatch.context() as broken:
        if fails == "load":
            broken.setattr(generator, "load_tuner", lambda: {}["no weights"])
        else:
            examples = [*EXAMPLES, Example("CRASH", "output")]
        with pytest.raises(GenerationError, match=r"the refinement failed: (KeyError|RuntimeError)") as failure:
            await refine(refiner, generator, recipe, examples)
    assert failure.value.code == "refine_failed"
    assert "CRASH" not in str(failure.value)
    assert (await refine(refiner, generator, recipe))[1].kept


async def test_refusal_of_an_example_passes(refiner: Refiner, generator: FakeGenerator, recipe: Recipe) -> None:
    def refuse() -> None:
        raise CloudError("no", code="example_too_long")

    generator.load_tuner = refuse  # type: ignore[assignment, method-assign]
    with pytest.raises(CloudError) as refused:
        await refine(refiner, generator, recipe)
    assert refused.value.code == "example_too_long"
