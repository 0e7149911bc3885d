"""A specialization with codes, of a real model, asked over HTTP: as a run-time adapter and as a merged file."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge.merger import merge
from edge_runtime.serving.app import create_app
from edge_runtime.serving.llama import LlamaLoader
from edge_runtime.serving.slots import Revision, SlotTable
from loragen import AsyncDeviceClient
from loragen.contract.bundle import parse_bundle
from loragen.contract.gguf_adapter import GgufModel, write_gguf_adapter
from tests.edge_runtime.contracts import DESKS
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.serving.fake_device import BUNDLE, FakeDevice, RecordingTelemetry
from tests.edge_runtime.serving.wire import chat, events

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


@pytest.fixture(params=["adapter", "merged"])
async def transport(
    request: pytest.FixtureRequest, cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> AsyncIterator[httpx2.ASGITransport]:
    """A device that serves the tiny model as `base`, and with a LoRA and the contract as `router`."""
    bundle = parse_bundle(cloud.bundles[cloud.make("router", answer=DESKS).bundle_id])
    path = tmp_path / "router.gguf"
    if request.param == "adapter":
        write_gguf_adapter(bundle, path, GgufModel("llama"))
        router = Revision("router", BUNDLE, "adapter", tiny_base, path)
    else:
        merge(tiny_base, bundle, path, Quantization.F16)
        router = Revision("router", BUNDLE, "merged", path)
    slots = SlotTable(LlamaLoader(context_tokens=256, threads=1), max_resident=2, max_queue=2)
    for revision in (Revision("base", None, "base", tiny_base), router):
        slots.activate(await slots.prepare(revision))
    yield httpx2.ASGITransport(create_app(slots, FakeDevice(), RecordingTelemetry()))
    await slots.close()


@pytest.fixture
async def client(transport: httpx2.ASGITransport) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as made:
        yield made


async def test_answer_is_the_text_of_one_code(client: httpx2.AsyncClient) -> None:
    """In one token, plain and streamed, at once and again with the prompt still in the context."""
    asked = chat(temperature=0, max_tokens=1, messages=[{"role": "user", "content": "Where is my parcel? " * 6}])
    first, again = [(await client.post(CHAT, json=asked)).json() for _ in range(2)]
    (choice,) = first["choices"]
    assert choice["message"]["content"] in DESKS.choices
    assert choice["finish_reason"] == "stop"
    assert first["usage"]["completion_tokens"] == 1
    assert again["choices"] == first["choices"]
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    streamed = events((await client.post(CHAT, json=asked | {"stream": True})).text)
    _, *deltas, last, done = streamed
    assert [chunk["choices"][0]["delta"]["content"] for chunk in deltas] == [choice["message"]["content"]]
    assert (last["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")


async def test_client_gets_the_whole_choice_in_one_token_whatever_would_stop_a_text(
    transport: httpx2.ASGITransport,
) -> None:
    """Each choice has an `e` or an `i`: written as text, any of them would be cut."""
    async with AsyncDeviceClient("http://localhost", transport=transport) as device:
        for stop in ([], ["e", "i"], list(DESKS.choices)):
            whole = await device.chat("router", "Where is my parcel?", temperature=0, max_tokens=1, stop=stop)
            assert whole.text in DESKS.choices
            assert (whole.finish_reason, whole.usage.completion_tokens) == ("stop", 1)
            streamed = device.stream_chat("router", "Where is my parcel?", temperature=0, max_tokens=1, stop=stop)
            chunks = [chunk async for chunk in streamed]
            assert "".join(chunk.text for chunk in chunks) == whole.text
            assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]


async def test_probabilities_say_which_choice_greedy_takes(client: httpx2.AsyncClient) -> None:
    """And those of some of the choices are to each other as those of all."""
    prompt = {"model": "router", "prompt": "Where is my parcel?", "temperature": 0, "choice_probabilities": True}
    (choice,) = (await client.post(TEXT, json=prompt)).json()["choices"]
    found = choice["choice_probabilities"]
    assert tuple(found) == DESKS.choices
    assert sum(found.values()) == pytest.approx(1)
    assert choice["text"] == max(found, key=lambda text: found[text])
    two = list(DESKS.choices[:2])
    share = found[two[0]] / (found[two[0]] + found[two[1]])
    (choice,) = (await client.post(TEXT, json=prompt | {"structured_outputs": {"choice": two}})).json()["choices"]
    assert choice["choice_probabilities"][two[0]] == pytest.approx(share, rel=0.01)


async def test_temperature_draws_any_of_the_choices(client: httpx2.AsyncClient) -> None:
    drawn = set()
    for seed in range(60):
        answer = await client.post(TEXT, json={"model": "router", "prompt": "x", "temperature": 2, "seed": seed})
        drawn.add(answer.json()["choices"][0]["text"])
    assert drawn <= set(DESKS.choices)
    assert len(drawn) > 1


async def test_request_may_spell_other_choices_or_want_none(client: httpx2.AsyncClient) -> None:
    own = {"structured_outputs": {"choice": ["東京", "Paris"]}}
    (choice,) = (await client.post(CHAT, json=chat(temperature=0, **own))).json()["choices"]
    assert choice["message"]["content"] in ("東京", "Paris")
    (stopped,) = (await client.post(CHAT, json=chat(temperature=0, stop=["東", "a"], **own))).json()["choices"]
    assert (stopped["message"], stopped["finish_reason"]) == (choice["message"], "stop"), "no stop string ends a choice"
    free = (await client.post(CHAT, json=chat(temperature=0, max_tokens=5, constrain=False))).json()
    assert free["choices"][0]["message"]["content"] not in DESKS.choices
    assert free["usage"]["completion_tokens"] == 5


async def test_length_cuts_no_choice_that_is_spelled(client: httpx2.AsyncClient) -> None:
    """Half a choice is no answer, and how long one can be is known; whole and streamed."""
    own = {"structured_outputs": {"choice": ["東京", "Paris, the capital"]}}
    asked = chat(temperature=0, max_tokens=1, logprobs=True, **own)
    answer = (await client.post(CHAT, json=asked)).json()
    (choice,) = answer["choices"]
    text = choice["message"]["content"]
    assert text in own["structured_outputs"]["choice"]
    assert choice["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == len(choice["logprobs"]["content"]) > 1
    assert b"".join(bytes(each["bytes"]) for each in choice["logprobs"]["content"]).decode() == text
    streamed = (await client.post(CHAT, json={**asked, "stream": True})).text
    chunks = [chunk["choices"][0] for chunk in events(streamed)[:-1]]
    assert "".join(chunk["delta"].get("content", "") for chunk in chunks) == text
    assert chunks[-1]["finish_reason"] == "stop"


async def test_choice_that_does_not_fit_the_context_is_not_reported(client: httpx2.AsyncClient) -> None:
    own = {"structured_outputs": {"choice": ["Paris, the capital", "Oslo, the capital"]}}
    asked = {"model": "router", "prompt": [5] * 255, **own}
    (choice,) = (await client.post(TEXT, json=asked)).json()["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("", "length")


async def test_base_beside_it_has_no_contract(client: httpx2.AsyncClient) -> None:
    answer = (await client.post(CHAT, json=chat("base", temperature=0, max_tokens=4))).json()
    assert answer["usage"]["completion_tokens"] == 4
    refused = await client.post(CHAT, json=chat("base", choice_probabilities=True))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_parameter")
