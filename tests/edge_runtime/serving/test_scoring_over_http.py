"""Scoring over HTTP with a real tiny model, as lm-eval's local-completions asks for multiple-choice tasks."""

import math
from pathlib import Path
from typing import Any

import httpx2
import pytest

from edge_runtime.serving.llama import LlamaLoader
from tests.edge_runtime.serving.alone import prefill, probabilities

CONTEXT = "The quick brown fox, aged 12, jumps over"
CONTINUATIONS = (" the lazy dog", " 東京", " add(a, b)")


@pytest.fixture
def client(tiny_client: httpx2.AsyncClient) -> httpx2.AsyncClient:
    return tiny_client


async def tokens_of(client: httpx2.AsyncClient, text: str) -> list[int]:
    answer = await client.post("/tokenize", json={"model": "base", "prompt": text})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["count"], body["max_model_len"]) == (len(body["tokens"]), 256)
    tokens: list[int] = body["tokens"]
    return tokens


async def complete(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/completions", json={"model": "base", "temperature": 0, "seed": 1234, **fields})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def log_likelihood(choice: dict[str, Any], context_tokens: int) -> tuple[float, bool]:
    """What lm-eval makes of a choice: the sum over the continuation, and whether it is the likeliest."""
    logprobs = choice["logprobs"]
    reported = logprobs["token_logprobs"][context_tokens:-1]
    likeliest = logprobs["top_logprobs"][context_tokens:-1]
    is_greedy = all(token == max(top.values()) for token, top in zip(reported, likeliest, strict=True))
    return sum(reported), is_greedy


def greedy(base: Path, tokens: list[int], count: int) -> list[int]:
    """Tokens, and the `count` likeliest ones after them."""
    engine = LlamaLoader(256, 1).load(base, None)
    for _ in range(count):
        prefill(engine, tokens)
        logprobs = probabilities(engine, range(engine.vocab_tokens))
        tokens = [*tokens, max(range(engine.vocab_tokens), key=lambda token: logprobs[token])]
    engine.close()
    return tokens


async def test_continuations_are_scored_as_lm_eval_asks(client: httpx2.AsyncClient, tiny_base: Path) -> None:
    """Nested lists of tokens, echo, one more token. The likeliest continuation is found, and known as such."""
    context = await tokens_of(client, CONTEXT)
    prompts = [await tokens_of(client, CONTEXT + each) for each in CONTINUATIONS]
    whole = greedy(tiny_base, context, 3)
    body = await complete(client, prompt=[*prompts, whole], max_tokens=1, logprobs=1, echo=True)
    choices = sorted(body["choices"], key=lambda choice: choice["index"])
    assert [choice["index"] for choice in choices] == [0, 1, 2, 3]
    for choice, prompt in zip(choices, [*prompts, whole], strict=True):
        logprobs = choice["logprobs"]
        assert {len(each) for each in logprobs.values()} == {len(prompt) + 1}
        assert logprobs["token_logprobs"][0] is None
        assert logprobs["top_logprobs"][0] is None
        assert all(-math.inf < each <= 0 for each in logprobs["token_logprobs"][1:])
    scores = [log_likelihood(choice, len(context)) for choice in choices]
    assert all(total < 0 for total, _ in scores)
    assert [is_greedy for _, is_greedy in scores] == [False, False, False, True]
    assert body["usage"]["prompt_tokens"] == sum(map(len, [*prompts, whole]))
    assert body["usage"]["completion_tokens"] == 4
    again = await complete(client, prompt=[*prompts, whole], max_tokens=1, logprobs=1, echo=True)
    assert again["choices"] == body["choices"]


async def test_scores_are_those_of_writing_the_same_text(client: httpx2.AsyncClient) -> None:
    context = await tokens_of(client, CONTEXT)
    written = (await complete(client, prompt=context, max_tokens=4, logprobs=1))["choices"][0]["logprobs"]
    assert len(written["tokens"]) == 4
    (choice,) = (await complete(client, prompt=context, max_tokens=4, logprobs=1, echo=True))["choices"]
    assert choice["logprobs"]["tokens"][len(context) :] == written["tokens"]
    reported = choice["logprobs"]["token_logprobs"][len(context) :]
    assert reported == pytest.approx(written["token_logprobs"], abs=0.05)
    (choice,) = (await complete(client, prompt=context, max_tokens=1, logprobs=1, echo=True))["choices"]
    assert choice["logprobs"]["tokens"][-1] == written["tokens"][0]


@pytest.mark.parametrize("max_tokens", [0, 1])
async def test_echo_is_the_prompt(client: httpx2.AsyncClient, max_tokens: int) -> None:
    body = await complete(client, prompt=CONTEXT, max_tokens=max_tokens, logprobs=1, echo=True)
    choice = body["choices"][0]
    assert choice["text"].endswith(CONTEXT) if max_tokens == 0 else CONTEXT in choice["text"]
    assert body["usage"]["completion_tokens"] == max_tokens
    assert len(choice["logprobs"]["tokens"]) == len(await tokens_of(client, CONTEXT)) + max_tokens
    plain = await complete(client, prompt=CONTEXT, max_tokens=max_tokens, echo=True)
    assert plain["choices"][0]["text"].startswith(CONTEXT)
    assert plain["choices"][0]["logprobs"] is None


async def test_several_texts_are_answered_in_order(client: httpx2.AsyncClient) -> None:
    """As each would be alone, plain and streamed."""
    texts = [CONTEXT + each for each in CONTINUATIONS]
    alone = [(await complete(client, prompt=text, max_tokens=6))["choices"][0]["text"] for text in texts]
    body = await complete(client, prompt=texts, max_tokens=6)
    assert [choice["text"] for choice in body["choices"]] == alone
    twice = await complete(client, prompt=texts[:2], max_tokens=6, n=2)
    assert [choice["text"] for choice in twice["choices"]] == [alone[0], alone[0], alone[1], alone[1]]


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": []},
        {"prompt": [[]]},
        {"prompt": [5, [5]]},
        {"prompt": [[-1]]},
        {"prompt": [[10**9]]},
        {"prompt": ["x"] * 129},
        {"prompt": "x", "max_tokens": 0},
        {"prompt": "x", "max_tokens": -2},
        {"prompt": [[5] * 256], "echo": True, "logprobs": 1},
    ],
)
async def test_prompts_that_are_none_are_refused(client: httpx2.AsyncClient, fields: dict[str, Any]) -> None:
    answer = await client.post("/v1/completions", json={"model": "base", **fields})
    assert answer.status_code == 400, answer.text


async def test_answer_without_a_limit_goes_on_to_the_end_of_the_context(client: httpx2.AsyncClient) -> None:
    body = await complete(client, prompt=CONTEXT, max_tokens=-1)
    assert body["choices"][0]["finish_reason"] in ("stop", "length")
    if body["choices"][0]["finish_reason"] == "length":
        assert body["usage"]["total_tokens"] == 256
