"""The prober: loads late, on its own thread, bounded in number and in time."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from cloud_service.access.caller import Caller, calling
from cloud_service.errors import (
    CloudError,
    DeadlineError,
    DrainingError,
    GenerationError,
    InvalidRequestError,
    OverloadedError,
    UsageLimitError,
)
from cloud_service.generation import Asked, EdgeProbe, EdgeScores
from cloud_service.probing import ProbeComparison, Prober
from cloud_service.task import Example
from loragen.contract.assembly import build_bundle
from loragen.contract.recipe import Recipe
from tests.cloud_service.access.fake_store import usage_within
from tests.cloud_service.clouds import eventually
from tests.cloud_service.fake_generator import CHOICE, EXPERTS, HEAD, SHAPE, FakeGenerator, FakeProbe

EXAMPLES = (Example("echo", "echo"), Example("ping", "pong"))
MakeProber = Callable[..., Prober]


@pytest.fixture
def make_prober() -> Iterator[MakeProber]:
    """Makes probers, and closes them."""
    made: list[Prober] = []

    def make(load: Callable[[], EdgeProbe], max_waiting: int = 2, timeout_seconds: float = 5, **limits: int) -> Prober:
        usage = usage_within(**limits)
        made.append(Prober(load, max_waiting=max_waiting, timeout_seconds=timeout_seconds, usage=usage))
        return made[-1]

    yield make
    for prober in made:
        prober.close()


@pytest.fixture
def bundle(generator: FakeGenerator) -> bytes:
    """A bundle that the contract accepts."""
    info, bank = generator.info, generator.bank
    gates = np.ones((SHAPE.layers, 1, EXPERTS), np.float32)
    return build_bundle(
        bank, Recipe(info.id, info.digest, bank.digest, info.edge_model_id, info.edge_model_digest, 3, gates)
    )


async def test_both_scores_come_from_one_model_loaded_once_on_a_thread_of_its_own(
    generator: FakeGenerator, make_prober: MakeProber, bundle: bytes
) -> None:
    prober = make_prober(generator.load_probe)
    assert generator.probes == []
    for _ in range(2):
        compared = await prober.compare(EXAMPLES, bundle)
        assert compared == ProbeComparison(EdgeScores((False, False), -8.0), EdgeScores((True, False), -7.0))
        assert (compared.gained, compared.specialized.exact_match) == (1, 0.5)
    (probe,) = generator.probes
    assert len(probe.threads) == 1
    assert threading.current_thread().name not in probe.threads


@pytest.fixture
def coded(generator: FakeGenerator) -> bytes:
    """A bundle whose LoRA writes codes."""
    info, bank = generator.info, generator.bank
    gates, keys = np.zeros((SHAPE.layers, 1, EXPERTS), np.float32), np.ones((1, 2, HEAD.rank), np.float32)
    ids = (info.id, info.digest, bank.digest, info.edge_model_id, info.edge_model_digest)
    return build_bundle(bank, Recipe(*ids, 3, gates, CHOICE, keys))


async def test_bundle_with_codes_is_scored_among_them_and_the_base_model_by_its_text(
    make_prober: MakeProber, coded: bytes
) -> None:
    compared = await make_prober(FakeProbe).compare([Example("billing", "billing")], coded)
    assert compared == ProbeComparison(EdgeScores((False,), -8.0), EdgeScores((True,), -1.75))


def test_input_is_gained_where_the_lora_is_right_and_the_base_model_is_not() -> None:
    base, specialized = EdgeScores((True, True, False, False), -1.0), EdgeScores((True, False, True, False), -1.0)
    assert ProbeComparison(base, specialized).gained == 1


async def test_residual_prompt_is_in_front_with_the_lora_alone_and_counts(
    generator: FakeGenerator, make_prober: MakeProber
) -> None:
    generation = replace(generator._generate(Asked("Sort.")), residual_prompt="Say it again.", residual_prompt_tokens=3)
    bundle = build_bundle(generator.bank, generation.recipe(generator.info, generator.bank.digest))
    prober = make_prober(generator.load_probe)
    await prober.compare(EXAMPLES, bundle)
    (probe,) = generator.probes
    assert probe.residual_prompts == ["", "Say it again."]
    with pytest.raises(InvalidRequestError, match=r"probe\.0: expected at most 20 tokens with the answer, found 22"):
        await prober.compare([Example("word " * 18, "x")], bundle)


async def test_answer_without_a_code_is_named_before_the_model_is_loaded(
    generator: FakeGenerator, make_prober: MakeProber, coded: bytes
) -> None:
    examples = [Example("a", "billing"), Example("b", "Billing")]
    with pytest.raises(InvalidRequestError, match=r"probe\.1\.output: expected one of the 2 choices"):
        await make_prober(generator.load_probe).compare(examples, coded)
    assert generator.probes == []


async def test_too_many_probes_are_refused_and_room_is_made_again(make_prober: MakeProber, bundle: bytes) -> None:
    probe = FakeProbe()
    probe.gate.clear()
    prober = make_prober(lambda: probe, max_waiting=2)
    waiting = [asyncio.create_task(prober.compare(EXAMPLES, bundle)) for _ in range(2)]
    await eventually(lambda: bool(probe.threads))
    with pytest.raises(OverloadedError, match="2 probes are waiting"):
        await prober.compare(EXAMPLES, bundle)
    probe.gate.set()
    assert len(await asyncio.gather(*waiting)) == 2
    await prober.compare(EXAMPLES, bundle)


async def test_probe_that_takes_too_long_is_given_up_and_still_counts_as_running(
    make_prober: MakeProber, bundle: bytes
) -> None:
    probe = FakeProbe()
    probe.gate.clear()
    prober = make_prober(lambda: probe, max_waiting=1, timeout_seconds=0.1)
    with pytest.raises(DeadlineError):
        await prober.compare(EXAMPLES, bundle)
    with pytest.raises(OverloadedError):
        await prober.compare(EXAMPLES, bundle)
    probe.gate.set()


async def test_one_tenant_leaves_room_for_others_until_its_probe_is_over_though_it_hung_up(
    make_prober: MakeProber, bundle: bytes
) -> None:
    probe = FakeProbe()
    probe.gate.clear()
    prober = make_prober(lambda: probe, max_waiting=2, share_percent=50)
    with calling(Caller("one", tenant="acme")):
        first = asyncio.create_task(prober.compare(EXAMPLES, bundle))
        await eventually(lambda: bool(probe.threads))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    with calling(Caller("two", tenant="acme")), pytest.raises(UsageLimitError, match="1 probes"):
        await prober.compare(EXAMPLES, bundle)
    with calling(Caller("three")):
        other = asyncio.create_task(prober.compare(EXAMPLES, bundle))
    probe.gate.set()
    await other
    with calling(Caller("two", tenant="acme")):
        await prober.compare(EXAMPLES, bundle)


async def test_probes_count_for_the_day(make_prober: MakeProber, bundle: bytes) -> None:
    probe = FakeProbe()
    prober = make_prober(lambda: probe, probes_per_day=1)
    with calling(Caller("one")):
        await prober.compare(EXAMPLES, bundle)
        with pytest.raises(UsageLimitError, match="1 probes"):
            await prober.compare(EXAMPLES, bundle)
    assert len(probe.residual_prompts) == 2, "one without the LoRA, and one with it"


def _cannot_load() -> EdgeProbe:
    raise MemoryError("no room")


@pytest.mark.parametrize("text", ["CRASH", "NAN"])
async def test_model_that_fails_is_reported_without_content(make_prober: MakeProber, bundle: bytes, text: str) -> None:
    prober = make_prober(FakeProbe)
    with pytest.raises(GenerationError) as failed:
        await prober.compare([Example(f"{text} secret", "")], bundle)
    assert failed.value.code == "probe_failed"
    assert "secret" not in str(failed.value)
    await prober.compare(EXAMPLES, bundle)


async def test_model_that_cannot_be_loaded_and_bundle_that_is_none_fail(make_prober: MakeProber, bundle: bytes) -> None:
    for load, data in ((_cannot_load, bundle), (FakeProbe, b"junk")):
        with pytest.raises(CloudError) as failed:
            await make_prober(load).compare(EXAMPLES, data)
        assert failed.value.code == "probe_failed"


async def test_input_that_the_edge_model_cannot_read_is_named(make_prober: MakeProber, bundle: bytes) -> None:
    with pytest.raises(InvalidRequestError, match=r"probe\.1: expected at most 20 tokens with the answer, found 31"):
        await make_prober(FakeProbe).compare([EXAMPLES[0], Example("word " * 30, "x")], bundle)


async def test_probe_is_bounded_by_the_tokens_of_all_its_inputs(
    make_prober: MakeProber, bundle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_service.probing.MAX_PROBE_TOKENS", 30)
    with pytest.raises(InvalidRequestError, match=r"at most 30 tokens in all, found 36 up to probe\.2"):
        await make_prober(FakeProbe).compare([Example("word " * 11, "x")] * 4, bundle)


async def test_refused_probe_is_asked_to_come_back_by_the_measured_rate(
    make_prober: MakeProber, bundle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = FakeProbe()
    prober = make_prober(lambda: probe, max_waiting=1)
    prober._retry_after.measured(7.0)
    probe.gate.clear()
    waiting = asyncio.create_task(prober.compare(EXAMPLES, bundle))
    await eventually(lambda: bool(probe.threads))
    with pytest.raises(OverloadedError) as caught:
        await prober.compare(EXAMPLES, bundle)
    assert 12 <= (caught.value.retry_after_seconds or 0) <= 14
    probe.gate.set()
    await waiting


async def test_probe_that_nobody_waits_for_is_not_run_to_its_end(make_prober: MakeProber, bundle: bytes) -> None:
    probe = FakeProbe()
    probe.gate.clear()
    prober = make_prober(lambda: probe)
    left = [asyncio.create_task(prober.compare(EXAMPLES, bundle)) for _ in range(2)]
    await eventually(lambda: bool(probe.threads))
    for each in left:
        each.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    probe.gate.set()
    await prober.compare(EXAMPLES, bundle)
    assert len(probe.residual_prompts) == 1 + 2, "the base model of the first, and both of the last"


async def test_close_tells_waiting_probes_that_the_service_drains(make_prober: MakeProber, bundle: bytes) -> None:
    probe = FakeProbe()
    probe.gate.clear()
    prober = make_prober(lambda: probe)
    running, waiting = (asyncio.create_task(prober.compare(EXAMPLES, bundle)) for _ in range(2))
    await eventually(lambda: bool(probe.threads))
    prober.close()
    with pytest.raises(DrainingError):
        await waiting
    with pytest.raises(DrainingError):
        await prober.compare(EXAMPLES, bundle)
    probe.gate.set()
    with pytest.raises(DrainingError):
        await running
