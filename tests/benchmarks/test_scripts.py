"""Each script measures what it says; here at tiny shapes, where the times mean nothing and are not looked at."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from benchmarks import answer_latency, generation_latency, sizes
from benchmarks.answer_latency import Answered, Round
from benchmarks.errors import BenchmarkError
from benchmarks.tinyllama import RANK, ModelShape
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


Answer = Callable[[dict[str, object]], httpx2.Response]


def client_of(answer: Answer) -> httpx2.Client:
    transport = httpx2.MockTransport(lambda request: answer(json.loads(request.content)))
    return httpx2.Client(transport=transport, base_url="http://cloud.test")


def test_requests_are_distinct_and_posted_twice() -> None:
    posted: list[str] = []

    def answer(body: dict[str, object]) -> httpx2.Response:
        text = json.dumps(body)
        posted.append(text)
        return httpx2.Response(200, json={"cached": text in posted[:-1]})

    with client_of(answer) as client:
        uncached, cached = generation_latency.measure(client, generation_latency.make_requests(9), 3)
    assert len(set(posted)) == 9
    assert len(posted) == 18
    assert min(uncached, cached) > 0


REFUSALS = [
    (httpx2.Response(200, json={"cached": True}), "cached = False"),
    (httpx2.Response(503, json={"error": {"code": "busy"}}), "503"),
]


@pytest.mark.parametrize(("response", "message"), REFUSALS)
def test_answer_that_would_falsify_the_figure_is_an_error(response: httpx2.Response, message: str) -> None:
    with client_of(lambda _body: response) as client, pytest.raises(BenchmarkError, match=message):
        generation_latency.measure(client, generation_latency.make_requests(1), 0)


def test_missing_pair_is_a_clear_error() -> None:
    with pytest.raises(BenchmarkError, match="see --pair"):
        generation_latency.run(Path("nowhere"))
