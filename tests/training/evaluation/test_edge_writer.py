"""Answers from the cache are those of reading every row alone and whole."""

import copy

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from cloud_service.generator.edge import Factors, edge_shape
from tests.training.models import tiny_model
from training.evaluation.edge_writer import EdgeWriter

INPUTS = ["wake me", "what is the weather in Oslo going to be like", "hi"]


@pytest.fixture(scope="module")
def edge(tokenizer: PreTrainedTokenizerFast) -> EdgeWriter:
    return EdgeWriter(tiny_model(tokenizer, 3), tokenizer, longest=200)


def factors_of(edge: EdgeWriter, tasks: int) -> Factors:
    """A different LoRA for each task."""
    torch.manual_seed(5)
    shape = edge_shape(edge.model.config)
    made = {}
    for key in shape.blocks():
        size_in, size_out = shape.in_out(key[1])
        made[key] = (torch.randn(tasks, 2, size_in), torch.randn(tasks, size_out, 2))
    return made


def greedy(edge: EdgeWriter, tokenizer: PreTrainedTokenizerFast, text: str, system: str | None, longest: int) -> str:
    ids = edge.chat.question(text, system)
    start = len(ids)
    with torch.inference_mode():
        for _ in range(longest):
            token = int(edge.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            if token == tokenizer.eos_token_id:
                break
            ids = [*ids, token]
    return tokenizer.decode(ids[start:], skip_special_tokens=True).strip()


def likelihood(edge: EdgeWriter, text: str, choice: str) -> float:
    question, answer = edge.chat.question(text), edge.chat.answer(choice)
    with torch.inference_mode():
        scores = edge.model(input_ids=torch.tensor([question + answer])).logits[0].log_softmax(-1)
    return sum(float(scores[len(question) - 1 + place, token]) for place, token in enumerate(answer))


def test_greedy_answers_are_those_of_each_row_alone(edge: EdgeWriter, tokenizer: PreTrainedTokenizerFast) -> None:
    systems = [None, "Be brief.", "You are a router of messages."]
    found = edge.answer(INPUTS, systems, None, 6)
    expected = [greedy(edge, tokenizer, text, system, 6) for text, system in zip(INPUTS, systems, strict=True)]
    assert list(found.texts) == expected
    assert found.tokens == tuple(len(edge.chat.question(t, s)) for t, s in zip(INPUTS, systems, strict=True))
    assert found.chosen == (-1, -1, -1)


@pytest.mark.parametrize("end", ["text", "turn"])
def test_answer_ends_where_a_text_ends_or_a_turn(
    edge: EdgeWriter, tokenizer: PreTrainedTokenizerFast, end: str
) -> None:
    """The third token of the greedy answer is taken for the end of a text, or for that of the assistant's turn."""
    ids = edge.chat.question("hi")
    start = len(ids)
    with torch.inference_mode():
        for _ in range(3):
            ids = [*ids, int(edge.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())]
    assert ids[-1] not in ids[start:-1], "else the answer would end before"
    changed, token = copy.deepcopy(tokenizer), tokenizer.convert_ids_to_tokens(ids[-1])
    changed.add_special_tokens({"additional_special_tokens": [token]})
    if end == "text":
        changed.eos_token = token
    else:
        changed.chat_template = str(tokenizer.chat_template).replace("<|end|>", token)
    found = EdgeWriter(edge.model, changed, longest=200).answer(["hi"], [None], None, 6)
    assert found.texts[0] == tokenizer.decode(ids[start:-1], skip_special_tokens=True).strip()
    assert found.texts != edge.answer(["hi"], [None], None, 6).texts


def test_system_prompt_that_all_rows_share_is_read_once(
    edge: EdgeWriter, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers are those of each row alone, also for rows that begin alike beyond the prompt, or are the same."""
    system = "You are a router of messages. Name the tool that serves the user."
    inputs = [*INPUTS, "wake me up", "hi"]
    read: list[int] = []
    forward = edge.model.forward
    monkeypatch.setattr(
        edge.model, "forward", lambda **given: (read.append(given["input_ids"].numel()), forward(**given))[1]
    )
    found = edge.answer(inputs, [system] * 5, None, 6, [["a", "weather"]] * 5)
    assert sum(read[:2]) < sum(found.tokens)
    monkeypatch.undo()
    assert list(found.texts) == [greedy(edge, tokenizer, text, system, 6) for text in inputs]
    alone = [edge.answer([text], [system], None, 0, [["a", "weather"]]).chosen[0] for text in inputs]
    assert list(found.chosen) == alone
    assert edge.answer(["hi", "hi"], [system] * 2, None, 6).texts == (found.texts[2],) * 2


def test_chosen_is_the_likeliest_choice_with_its_end(edge: EdgeWriter) -> None:
    """Rows may offer different numbers of choices, one of them long."""
    choices = [["a", "weather"], ["yes", "no", "the harbour is quiet this evening"], ["x", "y"]]
    found = edge.answer(INPUTS, [None] * 3, None, 0, choices)
    scores = [[likelihood(edge, text, c) for c in offered] for text, offered in zip(INPUTS, choices, strict=True)]
    assert found.chosen == tuple(row.index(max(row)) for row in scores)

    assert found.texts == ("", "", "")


def test_scoring_choices_leaves_the_greedy_answer_as_it_is(edge: EdgeWriter) -> None:
    choices = [["one", "another one"]] * 3
    assert edge.answer(INPUTS, [None] * 3, None, 6, choices).texts == edge.answer(INPUTS, [None] * 3, None, 6).texts


def test_each_task_answers_under_its_own_factors(edge: EdgeWriter) -> None:
    factors, choices = factors_of(edge, 2), [["a", "b c"]] * 3
    together = edge.answer(INPUTS * 2, [None] * 6, factors, 5, choices * 2)
    for task in range(2):
        own = {key: (a[task : task + 1], b[task : task + 1]) for key, (a, b) in factors.items()}
        alone = edge.answer(INPUTS, [None] * 3, own, 5, choices)
        assert together.texts[3 * task : 3 * task + 3] == alone.texts
        assert together.chosen[3 * task : 3 * task + 3] == alone.chosen
    assert together.texts[:3] != edge.answer(INPUTS, [None] * 3, None, 5).texts


def test_question_too_long_loses_its_beginning(edge: EdgeWriter) -> None:
    found = edge.answer(["word " * 400], [None], None, 8)
    assert found.tokens == (192,)
