"""BFCL v4, `simple` and `multiple`, through both services: which calls of a pair are right, in three ways.

- base: the edge model is asked the question, and held to calls of the functions, which it is not shown.
- prompted: the request brings the functions as tools, and demands a call.
- specialized: the cloud service read the functions; the request has the question alone.

All are greedy. Every way is held to the schemas, so that each answer is a call. Questions, functions and the check are
those of `bfcl_questions`.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loragen.client import DeviceClient, LocalStack, ModelPair, RemoteError
from loragen.client.device_answers import Completion
from training.evaluation.bfcl_questions import CATEGORIES, BfclQuestion, is_accepted, load_bfcl_questions
from training.evaluation.services import BASE, is_refusal

DESCRIPTION = "Call the function that serves the request, with all arguments that the request gives."
PUBLISHED = "FunctionGemma 270M, as its makers publish it for `simple`: 61.6 %."
LONGEST_ANSWER = 160
WAYS = ("base", "prompted", "specialized")


@dataclass(slots=True)
class BfclScore:
    """What one way came to on one category."""

    right: int = 0
    names: int = 0
    asked: int = 0
    prompt_tokens: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def evaluate_bfcl(pair: ModelPair, data: Path, count: int, seed: int) -> str:
    """Ask and score; the table, as Markdown.

    Args:
        pair: What is evaluated.
        data: As for `load_bfcl_questions`.
        count: Questions of each category.
        seed: Which ones.

    Raises:
        OSError, ValueError: As for `load_bfcl_questions`.
        ClientError: A service does not do its part.
    """
    drawn = {category: load_bfcl_questions(data, category, count, seed) for category in CATEGORIES}
    scores = {(category, way): BfclScore() for category in CATEGORIES for way in WAYS}
    # A specialization is asked as it is attached: nothing is asked often enough to be merged for.
    with LocalStack(pair, channel="bfcl", edge_settings={"LORAGEN_EDGE_MAX_MERGED": "0"}) as stack:
        for category, questions in drawn.items():
            for number, question in enumerate(questions):
                name = f"{category}-{number}"
                try:
                    body = {"description": DESCRIPTION, "tools": list(question.tools)}
                    answer = stack.cloud.generate(body, publish=f"bfcl/{name}")
                    stack.device.wait_until_serving(name, answer.id)
                except RemoteError as error:
                    if not is_refusal(error):
                        raise
                    name = ""
                for way in WAYS:
                    _ask(stack.device, question, way, name, scores[category, way])
    return render(scores, count, seed)


def render(scores: Mapping[tuple[str, str], BfclScore], count: int, seed: int) -> str:
    """The table."""
    command = f"python -m training bfcl --data bfcl_eval/data --sample {count} --seed {seed}"
    method = (
        f"`{command}`: {count} questions of each category, drawn at random, with the leaderboard's accepted answers "
        "(AST accuracy). The questions are no part of this repository, and of no training. All three ways are held to "
        "the schemas of the functions."
    )
    lines = [
        "# Berkeley Function Calling Leaderboard, v4",
        "",
        method,
        "",
        "| category | way | questions | right, % (95 %) | function right, % | prompt tokens | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for (category, way), score in scores.items():
        share = score.right / max(score.asked, 1)
        low, high = wilson(score.right, score.asked)
        lines.append(
            f"| {category} | {way} | {score.asked} | {100 * share:.1f} ({100 * low:.1f} to {100 * high:.1f}) "
            f"| {100 * score.names / max(score.asked, 1):.1f} | {_mean(score.prompt_tokens):.0f} "
            f"| {_mean(score.seconds):.2f} |"
        )
    return "\n".join([*lines, "", PUBLISHED, ""])


def wilson(right: int, asked: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson's formula; all when nothing was asked."""
    if not asked:
        return 0.0, 1.0
    z, share = 1.96, right / asked
    middle = share + z * z / (2 * asked)
    spread = z * math.sqrt(share * (1 - share) / asked + z * z / (4 * asked * asked))
    return max(0.0, (middle - spread) / (1 + z * z / asked)), min(1.0, (middle + spread) / (1 + z * z / asked))


def _ask(device: DeviceClient, question: BfclQuestion, way: str, name: str, score: BfclScore) -> None:
    score.asked += 1
    send = _way(device, question, way, name)
    if send is None:  # the cloud service took no such functions
        return
    started = time.perf_counter()
    try:
        answer = send()
    except RemoteError as error:
        if not is_refusal(error):
            raise
        return
    score.seconds.append(time.perf_counter() - started)
    score.prompt_tokens.append(answer.usage.prompt_tokens)
    function, arguments = called(answer)
    score.names += function == question.function
    score.right += is_accepted(question, function, arguments)


def _way(device: DeviceClient, question: BfclQuestion, way: str, name: str) -> Callable[[], Completion] | None:
    if way == "base":
        form = {"type": "json_schema", "json_schema": {"name": "call", "schema": call_schema(question.tools)}}
        return lambda: device.chat(BASE, question.text, temperature=0, max_tokens=LONGEST_ANSWER, response_format=form)
    if way == "prompted":
        return lambda: device.chat(
            BASE,
            question.text,
            temperature=0,
            max_tokens=LONGEST_ANSWER,
            tools=question.tools,
            tool_choice="required",
            parallel_tool_calls=False,
        )
    return (lambda: device.chat(name, question.text, temperature=0, max_tokens=LONGEST_ANSWER)) if name else None


def call_schema(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON Schema of a call of one of these functions."""
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "name": {"const": tool["function"]["name"]},
                    "arguments": tool["function"]["parameters"],
                },
                "required": ["name", "arguments"],
            }
            for tool in tools
        ]
    }


def called(answer: Completion) -> tuple[str, str]:
    """The function that an answer calls, and its arguments; empty texts when it is no call."""
    for call in answer.tool_calls:
        return call.name, call.arguments
    try:
        fields = json.loads(answer.text)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(fields, dict) or not isinstance(fields.get("name"), str):
        return "", ""
    return fields["name"], json.dumps(fields.get("arguments"))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
