"""Clients that people have, against a device with a tiny real model, over a port."""

import asyncio
import json
import os
import warnings
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import ollama
import openai
import pytest

from edge_runtime.serving.app import create_app
from edge_runtime.serving.llama import LlamaLoader
from edge_runtime.serving.slots import Revision, SlotTable
from loragen.contract.answer import encode_answer
from loragen.contract.bundle import parse_bundle
from loragen.contract.gguf_adapter import GgufModel, write_gguf_adapter
from loragen.web.server import HttpServer, listen
from tests.edge_runtime.contracts import CALLS, with_answer
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import eventually
from tests.edge_runtime.serving.fake_device import BUNDLE, FakeDevice, RecordingTelemetry

pytestmark = pytest.mark.filterwarnings("ignore")
"""Of other people's code."""

USER = {"role": "user", "content": "How far is it to Zürich?"}
PLACE = {"type": "object", "properties": {"place": {"enum": ["Zürich", "Oslo"]}}, "required": ["place"]}
VISIT = {"type": "function", "function": {"name": "visit", "description": "Go there.", "parameters": PLACE}}
OWN = [
    {"type": "function", "function": {"name": each.name, "parameters": json.loads(each.parameters or "{}")}}
    for each in CALLS.functions
]


@pytest.fixture
async def slots(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> AsyncIterator[SlotTable]:
    """A device with a base, and a specialization `router` that calls functions or says none."""
    bundle = parse_bundle(cloud.bundles[cloud.make("router").bundle_id])
    # Longer than it was trained for, because its tokenizer makes many tokens of tools.
    base = with_answer(tiny_base, tmp_path / "base.gguf", None, context_tokens=1_024)
    plain = tmp_path / "plain.gguf"
    write_gguf_adapter(bundle, plain, GgufModel("llama"))
    slots = SlotTable(LlamaLoader(context_tokens=1_024, threads=1), max_resident=4, max_queue=8)
    slots.activate(await slots.prepare(Revision("base", None, "base", base)))
    always = replace(CALLS, none=None, codes=CALLS.codes[:2])
    path = with_answer(plain, tmp_path / "router.gguf", encode_answer(always))
    slots.activate(await slots.prepare(Revision("router", BUNDLE, "adapter", base, path)))
    yield slots
    await slots.close()


@pytest.fixture
async def url(slots: SlotTable) -> AsyncIterator[str]:
    server = HttpServer(create_app(slots, FakeDevice(), RecordingTelemetry()), listen("127.0.0.1", 0, "PORT"), 1)
    running = asyncio.create_task(server.run())
    yield f"http://127.0.0.1:{server.port}"
    server.stop()
    await running


@pytest.mark.slow
async def test_langchain_binds_tools_and_goes_on_after_the_result(url: str) -> None:
    """Those of the specialization, and others on the base; whole and streamed."""
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_openai import ChatOpenAI

    def chat(model: str) -> Any:
        return ChatOpenAI(
            model=model, base_url=f"{url}/v1", api_key="none", temperature=0, max_tokens=120, max_retries=0
        )

    asked = [HumanMessage("How far is it to Zürich?")]
    agent = chat("router").bind_tools(OWN)
    first = await agent.ainvoke(asked)
    (call,) = first.tool_calls
    assert call["name"] in ("find", "stop")
    second = await agent.ainvoke([*asked, first, ToolMessage("12 km", tool_call_id=call["id"])])
    assert second.tool_calls == []
    named = chat("base").bind_tools([VISIT], tool_choice="visit", parallel_tool_calls=False)
    (other,) = (await named.ainvoke(asked)).tool_calls
    assert (other["name"], other["args"]["place"] in ("Zürich", "Oslo")) == ("visit", True)
    pieces = [piece async for piece in named.astream(asked)]
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert whole.tool_calls[0]["args"] == other["args"]


@pytest.mark.slow
async def test_litellm_calls_functions_whole_and_streamed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "LITELLM_LOCAL_MODEL_COST_MAP", "True")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import litellm

    asked: dict[str, Any] = {"api_base": f"{url}/v1", "api_key": "none", "messages": [USER], "temperature": 0}
    answer = await litellm.acompletion("openai/router", max_tokens=120, **asked)
    assert answer.choices[0].message.tool_calls[0].function.name in ("find", "stop")
    named = {"type": "function", "function": {"name": "visit"}}
    more = {"tools": [VISIT], "tool_choice": named, "parallel_tool_calls": False, "max_tokens": 60}
    whole = (await litellm.acompletion("openai/base", **more, **asked)).choices[0].message.tool_calls[0].function
    assert json.loads(whole.arguments)["place"] in ("Zürich", "Oslo")
    arguments = ""
    async for chunk in await litellm.acompletion("openai/base", stream=True, **more, **asked):
        for call in chunk.choices[0].delta.tool_calls or ():
            arguments += call.function.arguments
    assert arguments == whole.arguments


async def test_openai_sync_client_lists_chats_and_streams(url: str) -> None:
    await asyncio.to_thread(use_sync_client, url)


def use_sync_client(url: str) -> None:
    """On a thread of its own: the device answers on the event loop."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["org/Tiny-Edge", "router", "late"]
        assert client.models.retrieve("router").id == "router"
        asked: dict[str, Any] = {"model": "base", "messages": [USER], "temperature": 0, "max_tokens": 8}
        whole = client.chat.completions.create(**asked)
        assert whole.usage is not None
        assert whole.usage.completion_tokens <= 8
        pieces = [
            chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**asked, stream=True)
        ]
        assert "".join(pieces) == whole.choices[0].message.content
        assert client.completions.create(model="base", prompt="The", max_tokens=2).choices[0].finish_reason
        with pytest.raises(openai.NotFoundError, match="no model 'nobody'"):
            client.chat.completions.create(**{**asked, "model": "nobody"})
        with pytest.raises(openai.BadRequestError, match="'max_tokens' x 'n' x prompts"):
            client.completions.create(model="base", prompt=["a"] * 128, n=8, max_tokens=500)


async def test_openai_client_that_cancels_frees_its_place(url: str) -> None:
    """The slot has one sequence: what comes after a long answer that nobody reads any more is answered."""
    long: dict[str, Any] = {"model": "base", "messages": [USER], "temperature": 1, "max_tokens": 900}
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        for _ in range(3):
            stream = await client.chat.completions.create(**long, stream=True)
            await anext(aiter(stream))
            await stream.close()
        waiting = asyncio.create_task(client.chat.completions.create(**long))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        short = await asyncio.wait_for(client.chat.completions.create(**{**long, "max_tokens": 2}), 30)
        assert short.usage is not None
        assert short.usage.completion_tokens <= 2


async def test_openai_client_asks_sixteen_times_at_once(url: str) -> None:
    """More than the queue takes: the client obeys `Retry-After`, and each is answered as it would be alone."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=8) as client:

        async def ask(number: int) -> str:
            answer = await client.completions.create(
                model="base", prompt=f"{number} is", temperature=0, max_tokens=4, timeout=60
            )
            return answer.choices[0].text

        together = await asyncio.gather(*(ask(number) for number in range(16)))
        assert together == [await ask(number) for number in range(16)]


async def test_ollama_chats_generates_and_lists(url: str) -> None:
    client = ollama.AsyncClient(host=url)
    try:
        options = {"temperature": 0, "num_predict": 60, "num_ctx": 512}
        answer = await client.chat("router:latest", [USER], options=options, keep_alive="5m")
        (call,) = answer.message.tool_calls or ()
        assert call.function.name in ("find", "stop")
        follow = [USER, answer.message, {"role": "tool", "tool_name": call.function.name, "content": "12 km"}]
        second = await client.chat("router", follow, options={**options, "num_predict": 3})
        assert second.message.tool_calls is None
        whole = await client.generate("base", "The", options=options)
        assert whole.done
        assert (whole.eval_count or 0) <= 60
        pieces = [piece async for piece in await client.generate("base", "The", options=options, stream=True)]
        assert "".join(piece.response for piece in pieces) == whole.response
        assert [piece.done for piece in pieces[-2:]] == [False, True]
        shaped = await client.chat("base", [USER], format=PLACE, options=options)
        assert json.loads(shaped.message.content or "")["place"] in ("Zürich", "Oslo")
        listed = (await client.list()).models
        assert [model.model for model in listed] == ["org/Tiny-Edge", "router"]
        assert all(len(model.digest or "") == 64 for model in listed)  # its command line cuts a part of each
        assert (await client.chat("base", [])).done_reason == "load"
        for change in ({"think": True}, {"options": {"mirostat": 2}}):
            with pytest.raises(ollama.ResponseError):
                await client.chat("base", [USER], **change)
        for asked in (client.chat("nobody", [USER]), client.chat("nobody", []), client.generate("nobody")):
            with pytest.raises(ollama.ResponseError, match="no model 'nobody' on this device") as caught:
                await asked
            assert caught.value.status_code == 404
        async with httpx2.AsyncClient() as plain:
            assert (await plain.get(f"{url}/api/version")).json()["version"]
            assert (await plain.post(f"{url}/api/pull", json={"model": "x"})).status_code in (404, 405)
    finally:
        await client.close()


async def test_ollama_client_unloads_a_model(slots: SlotTable, url: str) -> None:
    """By a lifetime of 0, alone or after an answer, whole and streamed. Any other leaves it to the device."""
    client = ollama.AsyncClient(host=url)
    options = {"num_predict": 2}

    try:
        for lifetime in (0, "0s"):
            assert (await client.generate("router", keep_alive=lifetime)).done_reason == "unload"
            assert not slots.is_resident("router")
            assert (await client.chat("router", [], keep_alive="5m")).done_reason == "load"
            await client.chat("router", [USER], options=options, keep_alive=-1)
            assert slots.is_resident("router")
            assert (await client.chat("router", [USER], options=options, keep_alive=lifetime)).done
            await eventually(lambda: not slots.is_resident("router"))
            pieces = await client.generate("router", "The", options=options, stream=True, keep_alive=lifetime)
            assert [piece.done async for piece in pieces][-1]
            await eventually(lambda: not slots.is_resident("router"))
        with pytest.raises(ollama.ResponseError, match="no model 'nobody' on this device"):
            await client.generate("nobody", keep_alive=0)
        with pytest.raises(ollama.ResponseError, match="keep_alive"):
            await client.generate("router", keep_alive="soon")
    finally:
        await client.close()


async def test_openai_responses_whole_and_streamed(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        plain: dict[str, Any] = {"model": "base", "input": "hi", "temperature": 0, "max_output_tokens": 8}
        text = await client.responses.create(**plain, instructions="Be kind.", store=False)
        assert text.object == "response"
        assert text.usage is not None
        assert text.usage.output_tokens <= 8
        tools = [{"type": "function", **VISIT["function"]}]  # type: ignore[dict-item]
        named = {"type": "function", "name": "visit"}
        asked = {**plain, "tools": tools, "tool_choice": named, "parallel_tool_calls": False, "max_output_tokens": 60}
        called = await client.responses.create(**asked)
        (item,) = called.output
        assert (item.type, item.name) == ("function_call", "visit")
        assert json.loads(item.arguments)["place"] in ("Zürich", "Oslo")
        result = {"type": "function_call_output", "call_id": item.call_id, "output": "12 km"}
        conversation = [USER, item.model_dump(exclude_none=True), result]
        after = await client.responses.create(**{**plain, "input": conversation}, tools=tools)
        assert after.status in ("completed", "incomplete")
        async with client.responses.stream(**asked) as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_response()
        assert kinds[0] == "response.created"
        assert "response.function_call_arguments.delta" in kinds
        assert final.output[0].arguments == item.arguments
        async with client.responses.stream(**plain) as stream:
            events = [event async for event in stream]
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert (events[-1].type, events[-1].response.output_text) == ("response.incomplete", "".join(deltas))
        for change in ({"previous_response_id": "resp_1"}, {"store": True}, {"background": True}):
            with pytest.raises(openai.BadRequestError, match=next(iter(change))):
                await client.responses.create(**plain, **change)


@pytest.mark.slow
async def test_lm_eval_scores_choices_and_generates(url: str) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval, which brings much, is not installed by set-up")
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    def ask(kind: str, *arguments: Any) -> list[Any]:
        model = LocalCompletionsAPI(
            model="base", base_url=f"{url}/v1/completions", tokenizer_backend="remote", num_concurrent=4
        )
        asked = [Instance(kind, {}, each, number) for number, each in enumerate(arguments)]
        found: list[Any] = getattr(model, kind)(asked)
        return found

    choices = (("How far is it", " to Oslo"), ("How far is it", " zzz"))
    scores = await asyncio.to_thread(ask, "loglikelihood", *choices)
    assert all(score < 0 for score, _ in scores)
    assert len({score for score, _ in scores}) == 2
    (whole,) = await asyncio.to_thread(ask, "loglikelihood_rolling", ("How far is it to Oslo",))
    assert whole < 0
    answers = await asyncio.to_thread(ask, "generate_until", ("The", {"until": ["\n"], "max_gen_toks": 4}))
    assert len(answers) == 1
    assert "\n" not in answers[0]
