"""Several sequences in one context of llama.cpp, on a tiny real model."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest

from edge_runtime.errors import ModelOutputError
from edge_runtime.serving.completion import CompletionRequest, TextPrompt, completion_events
from edge_runtime.serving.engine import GREEDY, Sampling, Token
from edge_runtime.serving.events import Event, Finished, Started, TextPiece
from edge_runtime.serving.llama import LlamaEngine, LlamaLoader
from edge_runtime.serving.llama_sequences import LlamaSequence
from edge_runtime.serving.prefix_cache import CHUNK
from tests.edge_runtime.serving.alone import taken
from tests.edge_runtime.tiny_models import SPECIAL


@pytest.fixture
def engine(tiny_base: Path) -> Iterator[LlamaEngine]:
    made = LlamaLoader(256, 1, sequences=4).load(tiny_base, None)
    yield made
    made.close()


@pytest.fixture
def alone(tiny_base: Path) -> Iterator[LlamaEngine]:
    made = LlamaLoader(256, 1, prefix_cache=False).load(tiny_base, None)
    yield made
    made.close()


def drawn(engine: LlamaEngine, count: int, seed: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(len(SPECIAL), engine.vocab_tokens, count)]


def probabilities_of(engine: LlamaEngine, prompt: list[int]) -> list[float]:
    with closing(engine.open()) as sequence:
        taken(engine, sequence.prefill(prompt))
        return sequence.probabilities(range(engine.vocab_tokens))


def together(engine: LlamaEngine, requests: list[CompletionRequest]) -> list[list[Event]]:
    """The events of requests that all begin at once."""
    found: list[list[Event]] = [[] for _ in requests]
    sequences = [engine.open() for _ in requests]
    running = {at: completion_events(engine, sequences[at], request) for at, request in enumerate(requests)}
    while running:
        for at, events in list(running.items()):
            for event in events:
                if event is None:
                    break
                found[at].append(event)
            else:
                del running[at]
                sequences[at].close()
        engine.step()
    return found


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that are computed from now on."""
    computed: list[int] = []
    decode = llama_cpp.llama_decode

    def counting(context: Any, batch: Any) -> int:
        computed.append(batch.n_tokens)
        code: int = decode(context, batch)
        return code

    monkeypatch.setattr(llama_cpp.llama_cpp, "llama_decode", counting)
    return computed


def answer(engine: LlamaEngine, sequence: LlamaSequence, sampling: Sampling, most: int) -> list[Token]:
    tokens = []
    for token in sequence.decode(sampling, most):
        if token is None:
            engine.step()
        else:
            tokens.append(token)
    return tokens


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextPiece))


def test_requests_together_are_answered_as_each_alone(engine: LlamaEngine, alone: LlamaEngine) -> None:
    """Each with its own sampling, prompts of several lengths, and answers that end at different times."""
    requests = [
        CompletionRequest(TextPrompt("The quick brown fox " * 5), GREEDY, 20),
        CompletionRequest(TextPrompt("Zürich"), Sampling(temperature=0.0, choices=("play", "stop")), 9),
        CompletionRequest(TextPrompt("add(a, b)" * 9), Sampling(temperature=0.0, schema='{"type":"boolean"}'), 9),
        CompletionRequest(TextPrompt("東京"), Sampling(temperature=0.0, logprobs=2), 12, echo=True, answers=2),
    ]
    expected = [together(alone, [request])[0] for request in requests]
    for _ in range(2):
        found = together(engine, requests)
        assert [text(events) for events in found] == [text(events) for events in expected]
        assert [events[-1] for events in found] == [events[-1] for events in expected]
    assert all(isinstance(events[-1], Finished) for events in expected)


@pytest.mark.parametrize("count", [5, 45, 100])
def test_prompt_gives_the_same_logits_whatever_runs_beside_it(
    engine: LlamaEngine, alone: LlamaEngine, count: int
) -> None:
    """To the last bit: beside an answer and a long prompt, fresh, and with a beginning that is copied."""
    prompt = drawn(engine, count, count)
    expected = probabilities_of(alone, prompt)
    answering, long = engine.open(), engine.open()
    taken(engine, answering.prefill([*prompt[: count // 2], 7, 8]))
    answer = answering.decode(Sampling(temperature=0.0, presence_penalty=1.0), 50)
    computed = long.prefill(drawn(engine, 200, 1))
    for _ in range(2):
        with closing(engine.open()) as sequence:
            mine = sequence.prefill(prompt)
            others = [answer, computed]
            while True:
                for each in others:
                    next(each, None)
                try:
                    next(mine)
                except StopIteration:
                    break
                engine.step()
            assert sequence.probabilities(range(engine.vocab_tokens)) == expected


def test_beginning_is_copied_from_a_request_that_still_runs(engine: LlamaEngine) -> None:
    first, second = engine.open(), engine.open()
    prompt = drawn(engine, 100, 1)
    assert taken(engine, first.prefill(prompt)) == 0
    assert taken(engine, second.prefill([*prompt[:80], 9, 9])) == 64
    assert taken(engine, first.prefill(prompt)) == 96, "and it keeps its own"


def test_same_prompt_of_several_at_once_is_computed_once(engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = counted(monkeypatch)
    prompt = "The quick brown fox, aged 12. " * 14
    count = len(engine.tokenize(prompt))
    assert count > 3 * CHUNK
    found = together(engine, [CompletionRequest(TextPrompt(prompt), GREEDY, 1) for _ in range(3)])
    assert sum(computed) <= count + 3 * CHUNK
    assert {text(events) for events in found} == {text(found[0])}
    cached = [event.cached_tokens for events in found for event in events if isinstance(event, Started)]
    assert sum(cached) == 3 * count - sum(computed)


def test_abandoned_prompt_gives_its_place_back_and_leaves_what_is_right(
    engine: LlamaEngine, alone: LlamaEngine
) -> None:
    prompt = drawn(engine, 150, 3)
    for _ in range(6):
        abandoned = engine.open()
        steps = abandoned.prefill(prompt)
        next(steps)
        engine.step()
        abandoned.close()
        abandoned.close()
    assert probabilities_of(engine, prompt) == probabilities_of(alone, prompt)


def test_failure_of_a_batch_is_that_of_the_sequences_in_it(
    engine: LlamaEngine, alone: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt, other = drawn(engine, 50, 4), drawn(engine, 50, 5)
    running = engine.open()
    taken(engine, running.prefill(other))
    failing = engine.open()
    steps = failing.prefill(prompt)
    next(steps)
    with monkeypatch.context() as patched:
        patched.setattr(llama_cpp.llama_cpp, "llama_decode", lambda *_: 1)
        engine.step()
    with pytest.raises(ModelOutputError, match="llama_decode returned 1 at 32 tokens"):
        next(steps)
    failing.close()
    assert len(list(running.decode(Sampling(temperature=0.0, schema='{"const":"abc"}'), 1))) == 1
    running.close()
    assert probabilities_of(engine, prompt) == probabilities_of(alone, prompt)


def test_memory_bounds_the_number_of_sequences(tiny_base: Path) -> None:
    """As many as fit, and always one."""
    each = LlamaLoader(256, 1).load(tiny_base, None)
    size = each._model.context_bytes(256)
    each.close()
    for bound, expected in ((0, 1), (size, 1), (3 * size, 3), (100 * size, 4)):
        engine = LlamaLoader(256, 1, sequences=4, context_bytes=bound).load(tiny_base, None)
        assert engine.sequences == expected
        assert [len(together(engine, [CompletionRequest(TextPrompt("hi"), GREEDY, 2)] * expected))] == [expected]
        engine.close()


def test_beginning_cannot_be_copied_where_a_sequence_cannot_be_shortened(
    engine: LlamaEngine, alone: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a recurrent state: prompts are then computed whole, and come to their end."""
    remove = llama_cpp.llama_memory_seq_rm
    monkeypatch.setattr(
        llama_cpp.llama_cpp, "llama_memory_seq_rm", lambda memory, seq, p0, p1: p0 <= 0 and remove(memory, seq, p0, p1)
    )
    prompt = drawn(engine, 100, 6)
    expected = probabilities_of(alone, prompt)
    for _ in range(3):
        first, second = engine.open(), engine.open()
        assert taken(engine, first.prefill([*prompt[:90], 9])) == 0
        assert taken(engine, second.prefill(prompt)) == 0
        assert second.probabilities(range(engine.vocab_tokens)) == expected
        first.close()
        second.close()


FORM = '{"properties":{"seats_wanted":{"type":"boolean"},"departure_is_late":{"type":"boolean"}},"required":["seats_wanted","departure_is_late"],"type":"object"}'  # noqa: E501


def test_what_a_schema_leaves_no_choice_about_takes_no_step_of_its_own(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = engine.tokenize("Zürich")
    with closing(engine.open()) as sequence:
        taken(engine, sequence.prefill(prompt))
        computed = counted(monkeypatch)
        tokens = answer(engine, sequence, Sampling(temperature=0.0, schema=FORM), 200)
    written = b"".join(token.piece for token in tokens).decode()
    assert set(json.loads(written)) == {"seats_wanted", "departure_is_late"}
    assert len(computed) < len(tokens) / 3
    assert sum(computed) <= len(tokens), "each is computed once"
    assert tokens[-1].may_end
    assert not any(token.may_end for token in tokens[:-1])


@pytest.mark.parametrize("most", [1, 2, 5, 9, 200])
def test_forced_text_is_cut_by_the_greatest_length_and_counts_for_it(engine: LlamaEngine, most: int) -> None:
    prompt, sampling = engine.tokenize("Zürich"), Sampling(temperature=0.0, schema=FORM)
    with closing(engine.open()) as sequence:
        taken(engine, sequence.prefill(prompt))
        whole = answer(engine, sequence, sampling, 200)
        taken(engine, sequence.prefill(prompt))
        assert answer(engine, sequence, sampling, most) == whole[:most]


def test_answer_with_likelihoods_tells_them_for_forced_text_too(engine: LlamaEngine) -> None:
    with closing(engine.open()) as sequence:
        taken(engine, sequence.prefill(engine.tokenize("Zürich")))
        tokens = answer(engine, sequence, Sampling(temperature=0.0, schema=FORM, logprobs=1), 60)
    assert len(tokens) > 4
    assert all(token.likelihood is not None for token in tokens)


def test_what_follows_forced_text_is_what_follows_it_in_a_prompt(engine: LlamaEngine) -> None:
    """The logits after it are those of the whole text, but for their last bits."""
    sampling = Sampling(temperature=0.0, schema=FORM)
    prompt = engine.tokenize("Zürich")
    with closing(engine.open()) as sequence:
        taken(engine, sequence.prefill(prompt))
        tokens = sequence.decode(sampling, 200)
        pieces = b""
        while b"true" not in pieces and b"false" not in pieces:
            token = next(tokens)
            if token is None:
                after_forced = pieces
                engine.step()
            else:
                pieces += token.piece
        written = list(sequence.place.tokens) if sequence.place else []
    assert after_forced.startswith(b'{"seats_wanted":')
    with closing(engine.open()) as other:
        taken(engine, other.prefill(written))
        expected = other.probabilities(range(engine.vocab_tokens))
    with closing(engine.open()) as sequence:
        taken(engine, sequence.prefill(prompt))
        taken(engine, sequence.extend(written))
        np.testing.assert_allclose(sequence.probabilities(range(engine.vocab_tokens)), expected, atol=1e-4)


def test_text_behind_a_prompt_is_computed_alone(engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, more = drawn(engine, 40, 1), drawn(engine, 100, 2)
    with closing(engine.open()) as sequence:
        taken(engine, sequence.prefill(prompt))
        computed = counted(monkeypatch)
        assert taken(engine, sequence.extend([*prompt, *more])) == 40
        assert sum(computed) == 100
        assert max(computed) <= 48
        # Another text takes the place of what is there, and so does the same once more.
        assert taken(engine, sequence.extend([*prompt[:35], 9, 9])) == 32
        assert taken(engine, sequence.extend([*prompt[:35], 9, 9])) == 32


def test_what_was_computed_behind_a_prompt_is_not_used_again(engine: LlamaEngine) -> None:
    """Its logits may differ in their last bits from those of a prompt's whole chunks."""
    prompt = drawn(engine, 40, 1)
    longer = [*prompt, *drawn(engine, 60, 2)]
    with closing(engine.open()) as sequence:
        taken(engine, sequence.prefill(prompt))
        taken(engine, sequence.extend(longer))
    with closing(engine.open()) as sequence:
        assert taken(engine, sequence.prefill(longer)) == 32


def test_forced_texts_of_many_together_fit_into_a_batch(
    engine: LlamaEngine, alone: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The context has room for 48 tokens in a batch; four answers have 80 and more to compute at once."""
    long = json.dumps({"properties": {"x" * 60: {"type": "boolean"}}, "required": ["x" * 60], "type": "object"})
    request = CompletionRequest(TextPrompt("Zürich"), Sampling(temperature=0.0, schema=long), 200)
    expected = text(together(alone, [request])[0])
    computed = counted(monkeypatch)
    found = together(engine, [request] * 4)
    assert [text(events) for events in found] == [expected] * 4
    assert max(computed) <= 48
