"""Each script measures what it says; here at tiny shapes, where the times mean nothing and are not looked at."""

from pathlib import Path

import httpx2
import pytest

from benchmarks import answer_latency, generation_latency, sizes
from benchmarks.answer_latency import Answered, Round
from benchmarks.errors import BenchmarkError
from benchmarks.tinyllama import RANK, ModelShape
from loragen import CloudClient
from loragen.contract.lora import EdgeShape

TINY = ModelShape(EdgeShape(layers=2, hidden=256, intermediate=512), vocabulary=512, heads=4, kv_heads=2)


@pytest.fixture(autouse=True)
def build_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_sizes_are_of_the_numbers_and_a_small_header() -> None:
    figures = sizes.run(repeats=1, shape=TINY)
    numbers_bytes = 2 * TINY.edge.lora_numbers(RANK)
    assert numbers_bytes < figures["bundle_bytes"].value < numbers_bytes + 8192
    assert figures["recipe_bytes"].value < 1024
    assert figures["build_bundle_ms"].value > 0
    assert not list(Path("build").iterdir())


def test_answers_are_measured_three_ways_on_the_devices_engine() -> None:
    figures = answer_latency.run(rounds=1, types=("Q4_0",), shape=TINY, threads=1)
    kinds = [f"{kind}_q4_0{way}" for kind in ("first_token", "answer") for way in ("", "_cached", "_speedup")]
    assert list(figures) == kinds
    assert [path.name for path in Path("build").iterdir()] == ["2x256x512x512-random-f16.gguf"]


def test_answer_figures_are_medians_of_specialized_over_prompted(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(specialized: float, prompted: float, cached: float) -> Round:
        return Round(*(Answered(ms / 2, ms, 0, 32) for ms in (specialized, prompted, cached)))

    rounds = [one(10, 40, 20), one(12, 60, 24), one(99, 50, 99)]
    monkeypatch.setattr(answer_latency, "measure", lambda *_: rounds)
    figures = answer_latency.run(types=("Q4_0",))
    assert (figures["answer_q4_0"].value, figures["answer_q4_0"].baseline) == (12, 50)
    assert (figures["first_token_q4_0_cached"].value, figures["first_token_q4_0_cached"].baseline) == (6, 12)
    assert figures["answer_q4_0_speedup"].value == round(50 / 12, 3)
    assert figures["answer_q4_0_speedup"].target == 2.1


@pytest.fixture
def generated() -> dict[str, object]:
    """An answer of the cloud service."""
    reference = {"id": "nano", "digest": "d" * 64}
    return {
        "id": "b" * 64,
        "bundle_bytes": 1,
        "recipe_id": "c" * 64,
        "recipe_bytes": 1,
        "generator": reference,
        "edge_model": reference,
        "gates": [],
        "prompt_tokens": 1,
        "tokens_saved_per_call": 1,
        "timings": {"queue_ms": 0, "generate_ms": 0, "assemble_ms": 0, "total_ms": 0},
    }


def test_requests_are_distinct_and_posted_twice(generated: dict[str, object]) -> None:
    posted: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        posted.append(request.content)
        return httpx2.Response(200, json={**generated, "cached": request.content in posted[:-1]})

    with CloudClient("http://cloud", transport=httpx2.MockTransport(answer)) as cloud:
        uncached, cached = generation_latency.measure(cloud, generation_latency.make_requests(9), 3)
    assert len(set(posted)) == 9
    assert len(posted) == 18
    assert min(uncached, cached) > 0


def test_answer_that_would_falsify_the_figure_is_an_error(generated: dict[str, object]) -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json={**generated, "cached": True}))
    with (
        CloudClient("http://cloud", transport=transport) as cloud,
        pytest.raises(BenchmarkError, match="cached = False"),
    ):
        generation_latency.measure(cloud, generation_latency.make_requests(1), 0)


def test_missing_pair_is_a_clear_error() -> None:
    with pytest.raises(BenchmarkError, match="see --pair"):
        generation_latency.run(Path("nowhere"))
