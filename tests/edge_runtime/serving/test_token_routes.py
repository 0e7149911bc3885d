"""Tokens of a text or a chat and back, as lm-eval uses them, with a real tiny model."""

from typing import Any

import httpx2
import pytest

CONTEXT, CONTINUATION = "The quick brown fox, aged 12, jumps over", " the lazy dog"


@pytest.fixture
def client(tiny_client: httpx2.AsyncClient) -> httpx2.AsyncClient:
    return tiny_client


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, 200),
        ({"prompt": "hi", "messages": [{"role": "user", "content": "hi"}]}, 400),
        ({}, 400),
        ({"prompt": "hi", "add_special_tokens": False}, 200),
        ({"messages": [{"role": "user", "content": "hi"}], "add_special_tokens": False}, 200),
        ({"messages": [{"role": "user", "content": "hi"}], "add_special_tokens": True}, 400),
        ({"prompt": "hi", "return_token_strs": True}, 400),
        ({"prompt": "hi", "model": "nobody"}, 404),
    ],
)
async def test_tokenize_takes_a_text_or_a_chat(client: httpx2.AsyncClient, body: dict[str, Any], status: int) -> None:
    answer = await client.post("/tokenize", json={"model": "base", **body})
    assert answer.status_code == status, answer.text


async def test_client_without_a_tokenizer_of_its_own_uses_the_models(client: httpx2.AsyncClient) -> None:
    """As lm-eval 0.4.13 does, which names no model: first it asks whether there is a tokenizer, then it uses it."""
    info = (await client.get("/tokenizer_info")).json()
    assert info.keys() == {"bos_token", "eos_token", "chat_template"}
    assert "{% for m in messages %}" in info["chat_template"]

    async def encode(text: str) -> list[int]:
        answer = await client.post("/tokenize", json={"prompt": text, "add_special_tokens": False})
        return list(answer.json()["tokens"])

    for token in (info["bos_token"], info["eos_token"]):
        assert len(await encode(token)) == 1
    context, whole = await encode(CONTEXT), await encode(CONTEXT + CONTINUATION)
    assert (whole[: len(context)], len(whole) > len(context)) == (context, True)
    for text in (CONTEXT, info["eos_token"], "naïve café, 東京", ""):
        answer = await client.post("/detokenize", json={"tokens": await encode(text)})
        assert answer.json() == {"prompt": text}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"tokens": [-1]}, 400),
        ({"tokens": [10**9]}, 400),
        ({"tokens": "hi"}, 400),
        ({"tokens": [5] * 257}, 400),
        ({}, 400),
        ({"tokens": [5], "model": "nobody"}, 404),
    ],
)
async def test_tokens_that_are_none_are_refused(client: httpx2.AsyncClient, body: dict[str, Any], status: int) -> None:
    assert (await client.post("/detokenize", json=body)).status_code == status
    assert (await client.get("/tokenizer_info", params={"model": "nobody"})).status_code == 404
