"""`POST /generate-lora` with a probe: the edge model's scores with and without the LoRA."""

from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from cloud_service.bootstrap import open_cloud
from cloud_service.generation import Asked
from cloud_service.limits import MAX_PROBE_CHARS, MAX_PROBES
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import CHOICE, CHOOSE, PROBE, PROBED, FakeGenerator


async def test_probe_compares_base_and_specialized_on_new_and_cached_answers(
    http: httpx2.AsyncClient, generator: FakeGenerator
) -> None:
    request = {"description": "Repeat."}
    plain = (await http.post("/generate-lora", json=request)).json()
    assert generator.probes == []
    probed = (await http.post("/generate-lora", json=request | {"probe": PROBE})).json()
    assert probed["probe"] == PROBED
    assert (probed["cached"], probed["recipe_id"]) == (True, plain["recipe_id"])
    assert "probe" not in (await http.post("/generate-lora", json=request)).json()


@pytest.mark.parametrize(
    "probe",
    [
        [PROBE[0]] * (MAX_PROBES + 1),
        [{"input": "a" * (MAX_PROBE_CHARS + 1), "output": ""}],
        [{"input": "a"}],
        [{"input": "a", "output": "b", "other": "c"}],
        [{"input": "word " * 30, "output": "too many tokens"}],
    ],
)
async def test_probe_beyond_its_limits_is_refused(http: httpx2.AsyncClient, probe: list[dict[str, str]]) -> None:
    response = await http.post("/generate-lora", json={"description": "Sort.", "probe": probe})
    assert response.status_code == 422
    assert response.json()["error"]["message"].startswith("probe")


async def test_probe_of_a_closed_set_expects_its_choices(http: httpx2.AsyncClient, generator: FakeGenerator) -> None:
    """Refused before anything is generated, and when the answer comes from the store."""
    right, wrong = ({"input": "billing", "output": output} for output in ("billing", "bill"))
    for prompts in (0, 1):
        refused = await http.post("/generate-lora", json={"description": CHOOSE, "probe": [right, wrong]})
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (422, "probe_not_a_choice")
        assert error["message"].startswith("probe.1.output: expected one of the 2 choices")
        assert (len(generator.prompts), generator.probes) == (prompts, [])
        if not prompts:
            await http.post("/generate-lora", json={"description": CHOOSE})
    answer = (await http.post("/generate-lora", json={"description": CHOOSE, "probe": [right]})).json()
    assert answer["probe"]["specialized"] == {"exact_match": 1.0, "log_likelihood": -1.75}


async def test_examples_are_tried_each_under_a_lora_without_it(
    http: httpx2.AsyncClient, generator: FakeGenerator
) -> None:
    request = {"description": "Repeat.", "examples": PROBE}
    plain = (await http.post("/generate-lora", json=request)).json()
    tried = (await http.post("/generate-lora", json=request | {"probe_examples": True})).json()
    specialized = {"exact_match": 0.5, "log_likelihood": -7.5}
    assert (tried["probe"], tried["recipe_id"]) == (PROBED | {"specialized": specialized}, plain["recipe_id"])
    assert tried["confidence"] == round((0.875 + 1) / 3, 4)
    assert [prompt.count("Input:") for prompt in generator.prompts] == [2, 1, 1]


async def test_fewer_than_two_examples_to_try_are_refused_by_field(
    http: httpx2.AsyncClient, generator: FakeGenerator
) -> None:
    for examples in ([], PROBE[:1], PROBE[:1] * 2):
        request = {"description": "Repeat.", "examples": examples, "probe_examples": True}
        refused = await http.post("/generate-lora", json=request)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (422, "too_few_examples")
        assert error["message"].startswith("examples: expected at least 2 different inputs with probe_examples")
    assert generator.prompts == []


async def test_probe_of_a_closed_set_without_codes_expects_any_text(tmp_path: Path, generator: FakeGenerator) -> None:
    generator.info = replace(generator.info, most_choices=0)
    generation = replace(generator._generate(Asked("Sort.")), answer=replace(CHOICE, codes=()))
    generator.generate = lambda asked: [generation for _ in asked]  # type: ignore[method-assign]
    async with open_cloud(settings_for(tmp_path), [generator]) as cloud, client_of(cloud) as http:
        answer = (await http.post("/generate-lora", json={"description": CHOOSE, "probe": PROBE})).json()
    assert answer["answer"]["choices"] == list(CHOICE.choices)
    assert answer["probe"] == PROBED


async def test_probe_is_refused_before_the_model_runs_where_it_is_off(tmp_path: Path, generator: FakeGenerator) -> None:
    async with open_cloud(settings_for(tmp_path, probe=False), [generator]) as cloud, client_of(cloud) as http:
        response = await http.post("/generate-lora", json={"description": "Sort.", "probe": PROBE})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "probe_disabled")
        assert "LORAGEN_CLOUD_PROBE" in response.json()["error"]["hint"]
        assert generator.prompts == []
        assert (await http.post("/generate-lora", json={"description": "Sort."})).status_code == 200
