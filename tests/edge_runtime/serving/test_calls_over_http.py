"""A specialization that calls functions, of a real model, asked by OpenAI's own client."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import openai
import pytest

from edge_runtime.serving.app import create_app
from edge_runtime.serving.llama import LlamaLoader
from edge_runtime.serving.slots import Revision, SlotTable
from loragen.contract.answer import AnswerContract, encode_answer
from loragen.contract.bundle import parse_bundle
from loragen.contract.gguf_adapter import GgufModel, write_gguf_adapter
from loragen.contract.json_schema import canonical_schema
from tests.edge_runtime.contracts import CALLS, with_answer
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import without_weights
from tests.edge_runtime.serving.fake_device import BUNDLE, FakeDevice, RecordingTelemetry

FIND = json.loads(CALLS.functions[0].parameters)
USER = {"role": "user", "content": "How far is it to Zürich?"}
SPELLED_CALLS = AnswerContract("tool_calls", functions=CALLS.functions, none="none")
PLACE = {"type": "object", "properties": {"place": {"enum": ["Zürich", "Oslo"]}}, "required": ["place"]}
ONE_CALL = AnswerContract("tool_calls", functions=CALLS.functions[:1])
SEVERAL = replace(CALLS, parallel=True, none=None, codes=(65, 66))
JSON = AnswerContract("json", schema=canonical_schema(PLACE))


@pytest.fixture
async def client(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[openai.AsyncOpenAI]:
    """A device with the tiny model as `base`, and with adapters that have contracts; its parameter: slots in memory."""
    bundle = parse_bundle(cloud.bundles[cloud.make("router").bundle_id])
    # Longer than it was trained for, because its tokenizer makes many tokens of tools.
    base = with_answer(tiny_base, tmp_path / "base.gguf", None, context_tokens=1_024)
    plain = tmp_path / "plain.gguf"
    write_gguf_adapter(bundle, plain, GgufModel("llama"))
    slots = SlotTable(LlamaLoader(context_tokens=1_024, threads=1), getattr(request, "param", 6), max_queue=4)
    slots.activate(await slots.prepare(Revision("base", None, "base", base)))
    contracts = {"router": CALLS, "several": SEVERAL, "speller": SPELLED_CALLS, "late": JSON, "one": ONE_CALL}
    for name, contract in contracts.items():
        path = with_answer(plain, tmp_path / f"{name}.gguf", encode_answer(contract))
        slots.activate(await slots.prepare(Revision(name, BUNDLE, "adapter", base, path)))
    transport = httpx2.ASGITransport(create_app(slots, FakeDevice(), RecordingTelemetry()))
    async with openai.AsyncOpenAI(
        api_key="none",
        base_url="http://localhost/v1",
        http_client=httpx2.AsyncClient(transport=transport),
        max_retries=0,
    ) as made:
        yield made
    await slots.close()


@pytest.mark.parametrize("model", ["router", "speller", "one"])
async def test_call_is_cut_where_the_client_says(client: openai.AsyncOpenAI, model: str) -> None:
    """Also one whose beginning no code stands for: as long as it may be, its arguments are no choice."""
    call = {"type": "function", "function": {"name": "find"}}
    for most in (1, 3):
        answer = await client.chat.completions.create(
            model=model, messages=[USER], temperature=0, max_tokens=most, tool_choice=call
        )
        assert answer.usage is not None
        assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", most)


def verify_found(arguments: str) -> None:
    """They are of the schema; bytes of a random model that are no character are counted otherwise by llama.cpp."""
    found = json.loads(arguments)
    if "\ufffd" in found.get("place", ""):
        del found["place"]
    jsonschema_rs.validator_for(FIND).validate(found)


async def ask(client: openai.AsyncOpenAI, model: str = "router", **more: Any) -> Any:
    fields: dict[str, Any] = {"messages": [USER], "temperature": 0, "seed": 1, **more}
    return await client.chat.completions.create(model=model, **fields)


def tool(name: str, parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "Some words.", "parameters": parameters}}


TOOLS = [tool("find", FIND), tool("stop", {"type": "object", "properties": {}})]
NAMED = {"type": "function", "function": {"name": "find"}}


@pytest.mark.parametrize("model", ["router", "speller"])
@pytest.mark.parametrize("temperature", [0, 1.5])
async def test_call_has_arguments_of_the_schema(client: openai.AsyncOpenAI, model: str, temperature: float) -> None:
    """Whether the function was chosen by a code or spelled, and for any temperature."""
    answer = await ask(client, model, tool_choice=NAMED, temperature=temperature, max_tokens=200)
    (choice,) = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls
    assert (call.type, call.function.name) == ("function", "find")
    verify_found(call.function.arguments)


@pytest.mark.parametrize("model", ["router", "speller"])
async def test_client_sends_no_tools_and_gets_one_of_the_options(client: openai.AsyncOpenAI, model: str) -> None:
    found = set()
    for seed in range(25):
        (choice,) = (await ask(client, model, temperature=2, seed=seed, max_tokens=60)).choices
        if choice.message.tool_calls:
            assert choice.finish_reason in ("tool_calls", "length")
            found.add(choice.message.tool_calls[0].function.name)
        else:
            assert (choice.message.content, choice.finish_reason) == ("none", "stop")
            found.add("none")
    assert found <= {"find", "stop", "none"}
    assert len(found) > 1


async def test_streamed_call_adds_up_to_the_whole_one(client: openai.AsyncOpenAI) -> None:
    (choice,) = (await ask(client, tool_choice=NAMED, max_tokens=40)).choices
    (call,) = choice.message.tool_calls
    chunks = [chunk async for chunk in await ask(client, tool_choice=NAMED, max_tokens=40, stream=True)]
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert (deltas[0].role, deltas[0].content) == ("assistant", None)
    assert deltas[0].tool_calls[0].id.startswith("call_")
    assert deltas[0].tool_calls[0].function.name == "find"
    pieces = [delta.tool_calls[0].function.arguments for delta in deltas if delta.tool_calls]
    assert "".join(pieces) == call.function.arguments
    assert chunks[-1].choices[0].finish_reason == choice.finish_reason
    async with client.chat.completions.stream(model="router", messages=[USER], temperature=0, max_tokens=40) as stream:
        final = (await stream.get_final_completion()).choices[0]
    assert final.message.tool_calls or final.message.content == "none"


async def test_several_calls_of_a_specialization(client: openai.AsyncOpenAI) -> None:
    """Each has its own index, and arguments of its schema; a request may want one alone."""
    counts = set()
    for seed in range(12):
        asked = {"temperature": 2, "seed": seed, "max_tokens": 300}
        (choice,) = (await ask(client, "several", **asked)).choices
        counts.add(len(choice.message.tool_calls))
        if choice.finish_reason == "tool_calls":
            for call in choice.message.tool_calls:
                if call.function.name == "find":
                    verify_found(call.function.arguments)
        arguments: dict[int, str] = {}
        async for chunk in await ask(client, "several", stream=True, **asked):
            for delta in chunk.choices[0].delta.tool_calls or ():
                arguments[delta.index] = arguments.get(delta.index, "") + delta.function.arguments
        assert list(arguments.values()) == [call.function.arguments for call in choice.message.tool_calls]
        (alone,) = (await ask(client, "several", parallel_tool_calls=False, **asked)).choices
        assert len(alone.message.tool_calls) == 1
    assert max(counts) > 1


@pytest.mark.parametrize("client", [5, 1], indirect=True)
async def test_agent_loop_of_two_turns(client: openai.AsyncOpenAI) -> None:
    """The call, its result, and then a text, however the client says which tools there are."""
    for tools in ({}, {"tools": TOOLS}):
        first = (await ask(client, tool_choice={**NAMED, "function": {"name": "stop"}}, **tools)).choices[0].message
        result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "12 km"}
        messages = [USER, first.model_dump(exclude_none=True), result]
        second = (await ask(client, messages=messages, max_tokens=5, **tools)).choices[0]
        assert second.message.tool_calls is None
        assert second.finish_reason in ("stop", "length")
        again = (await ask(client, messages=messages, tool_choice="required", max_tokens=40)).choices[0]
        assert again.message.tool_calls


@pytest.mark.parametrize("stream", [False, True])
async def test_text_is_written_by_the_base_under_the_name_of_the_specialization(
    client: openai.AsyncOpenAI, stream: bool
) -> None:
    """Its own weights write codes and calls: behind a result, and where no call is wanted."""
    call = {"id": "a", "type": "function", "function": {"name": "stop", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "a", "content": "12 km"}
    loop = [USER, {"role": "assistant", "tool_calls": [call]}, result]

    async def text_of(model: str, **more: Any) -> tuple[str, str, str]:
        if not stream:
            answer = await ask(client, model, max_tokens=12, **more)
            return answer.choices[0].message.content, answer.model, answer.system_fingerprint
        chunks = [chunk async for chunk in await ask(client, model, max_tokens=12, stream=True, **more)]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        return text, chunks[0].model, chunks[0].system_fingerprint

    for more in ({"messages": loop}, {"messages": loop, "tools": TOOLS}, {"tool_choice": "none", "tools": TOOLS}):
        expected, _, revision = await text_of("base", **{k: v for k, v in more.items() if k == "messages"})
        assert await text_of("router", **more) == (expected, "router", revision)
        assert without_weights(revision) == "base"
    own, _, revision = await text_of("router", messages=loop, extra_body={"constrain": False})
    assert revision.startswith("adapter")
    assert own != (await text_of("base", messages=loop))[0]


OTHERS = [tool("other", PLACE), tool("plain", {})]


@pytest.mark.parametrize("model", ["base", "router", "late"])
@pytest.mark.parametrize("temperature", [0, 1.5])
async def test_tools_that_a_request_brings_are_called(
    client: openai.AsyncOpenAI, model: str, temperature: float
) -> None:
    """By a model without tools, one with others, and one with another contract, streamed or not."""
    asked = {"tools": OTHERS, "temperature": temperature, "max_tokens": 120, "parallel_tool_calls": False}
    (choice,) = (await ask(client, model, tool_choice="required", **asked)).choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason in ("tool_calls", "length")
    assert call.function.name in ("other", "plain")
    named = {"type": "function", "function": {"name": "other"}}
    (choice,) = (await ask(client, model, tool_choice=named, **asked)).choices
    (call,) = choice.message.tool_calls
    assert json.loads(call.function.arguments)["place"] in ("Zürich", "Oslo")
    async for chunk in await ask(client, model, tool_choice="required", stream=True, **asked):
        assert chunk.choices[0].delta.content is None or chunk.choices[0].delta.content == ""


async def test_tools_that_a_request_brings_are_in_the_prompt(client: openai.AsyncOpenAI) -> None:
    """Unless no call is wanted; and with `auto` the model answers as it likes."""
    alone = (await ask(client, "base", max_tokens=1)).usage.prompt_tokens
    for change, more in (
        ({}, True),
        ({"tool_choice": "none"}, False),
        ({"response_format": {"type": "json_object"}}, True),
    ):
        answer = await ask(client, "base", tools=OTHERS[:1], max_tokens=5, **change)
        assert (answer.usage.prompt_tokens > alone) is more
        assert answer.choices[0].message.tool_calls is None


async def test_function_that_is_not_there_is_refused_by_name(client: openai.AsyncOpenAI) -> None:
    for model, tools in (("base", []), ("router", OTHERS), ("base", OTHERS)):
        with pytest.raises(openai.BadRequestError, match="'tool_choice'"):
            await ask(client, model, tools=tools, tool_choice=NAMED)


async def test_answer_in_json_is_of_the_contract_or_of_the_request(client: openai.AsyncOpenAI) -> None:
    (choice,) = (await ask(client, "late", temperature=1.5)).choices
    assert json.loads(choice.message.content)["place"] in ("Zürich", "Oslo")
    assert choice.finish_reason == "stop"
    own = {"type": "json_schema", "json_schema": {"name": "unit", "schema": {"enum": ["km", "mi"]}}}
    for model in ("base", "router", "late"):
        (choice,) = (await ask(client, model, response_format=own)).choices
        assert json.loads(choice.message.content) in ("km", "mi")
    (choice,) = (await ask(client, "base", response_format={"type": "json_object"}, max_tokens=30)).choices
    assert choice.message.content.startswith("{")


async def test_json_that_is_cut_says_so_and_json_that_just_fits_is_whole(client: openai.AsyncOpenAI) -> None:
    whole = await ask(client, "late")
    count = whole.usage.completion_tokens
    fits = (await ask(client, "late", max_tokens=count)).choices[0]
    assert (fits.message.content, fits.finish_reason) == (whole.choices[0].message.content, "stop")
    cut = (await ask(client, "late", max_tokens=count - 1)).choices[0]
    assert cut.finish_reason == "length"


async def test_choice_that_just_fits_is_whole(client: openai.AsyncOpenAI) -> None:
    asked = {"extra_body": {"structured_outputs": {"choice": ["delivery", "Zürich"]}}}
    whole = await ask(client, "base", **asked)
    fits = (await ask(client, "base", max_tokens=whole.usage.completion_tokens, **asked)).choices[0]
    assert (fits.message.content, fits.finish_reason) == (whole.choices[0].message.content, "stop")


async def test_text_completion_writes_a_call_as_text(client: openai.AsyncOpenAI) -> None:
    for seed in range(8):
        answer = await client.completions.create(model="router", prompt="x", max_tokens=60, seed=seed, temperature=2)
        (choice,) = answer.choices
        if choice.finish_reason == "stop" and choice.text != "none":
            assert json.loads(choice.text)["name"] in ("find", "stop")


async def test_several_answers_differ_and_repeat(client: openai.AsyncOpenAI) -> None:
    first, again = [await ask(client, "base", n=3, temperature=1.5, max_tokens=6) for _ in range(2)]
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert len(set(texts)) > 1
    assert first.usage.completion_tokens == 18
    streamed: dict[int, str] = {}
    async for chunk in await ask(client, "base", n=3, temperature=1.5, max_tokens=6, stream=True):
        (choice,) = chunk.choices
        streamed[choice.index] = streamed.get(choice.index, "") + (choice.delta.content or "")
    assert list(streamed.values()) == texts


async def test_likelihoods_of_tokens(client: openai.AsyncOpenAI) -> None:
    (choice,) = (await ask(client, "base", logprobs=True, top_logprobs=2, max_tokens=4)).choices
    tokens = choice.logprobs.content
    spelled = b"".join(bytes(token.bytes) for token in tokens).decode("utf-8", "replace")
    assert spelled.replace("<|pad|>", "") == choice.message.content  # a control token stands for no text
    for token in tokens:
        best, second = token.top_logprobs
        assert token.logprob == best.logprob >= second.logprob
    completion = await client.completions.create(model="base", prompt="The", logprobs=1, max_tokens=3, temperature=0)
    assert len(completion.choices[0].logprobs.token_logprobs) == 3


async def test_bias_and_bounds_shape_what_is_drawn(client: openai.AsyncOpenAI) -> None:
    greedy = (await ask(client, "base", max_tokens=6)).choices[0].message.content
    for narrow in ({"extra_body": {"top_k": 1}}, {"extra_body": {"min_p": 1}}, {"top_p": 0}):
        drawn = await ask(client, "base", temperature=2, max_tokens=6, **narrow)
        assert drawn.choices[0].message.content == greedy
    token = 70
    forced = await ask(client, "base", logit_bias={str(token): 100}, max_tokens=3)
    assert forced.choices[0].message.content != greedy
    refused = {"logit_bias": {"100000": 1}}
    with pytest.raises(openai.BadRequestError, match="logit_bias"):
        await ask(client, "base", **refused)
