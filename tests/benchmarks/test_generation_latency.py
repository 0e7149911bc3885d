"""How generation is measured, against a service that is hand-written here."""

from pathlib import Path

import httpx2
import pytest

from benchmarks import generation_latency
from benchmarks.errors import BenchmarkError
from loragen import CloudClient


@pytest.fixture
def generated() -> dict[str, object]:
    """An answer of the cloud service."""
    reference = {"id": "tiny", "digest": "d" * 64}
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
        "residual_prompt": "",
        "answer": {"type": "text", "choices": [], "codes": []},
        "confidence": None,
        "warnings": [],
        "links": {"bundle": "/bundles/b", "recipe": "/recipes/c", "bank": "/generators/tiny/bank"},
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
