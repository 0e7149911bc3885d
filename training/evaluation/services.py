"""Adapter: both services, and a device of its own for a larger model; specialized and asked as any client does it.

A specialization is asked when it is merged, at the device's default quantization. A device that keeps it attached is
asked as it is.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx2

from cloud_service.task import Example, TaskDescription, render_prompt
from loragen.client import DeviceClient, LocalStack, ModelPair, RemoteError, WaitError
from loragen.client.device_answers import Completion
from loragen.client.process import ServiceProcess, free_ports
from loragen.cloud_answers import Generated
from loragen.device_answers import ServedModel
from training.evaluation.average import mean_gates, store_average
from training.evaluation.records import Answers
from training.evaluation.suites import SuiteTask

BASE = "base"
AVERAGE = "average"
MERGE_SECONDS = 60.0
LONGEST_ANSWER = 96
"""Tokens of an answer at most; the longest calls and summaries that are expected have fewer."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a task is asked.

    Attributes:
        model: Name on the device; None when the service refused to make the specialization, which answers nothing.
        shots: Examples, as turns before the input.
    """

    model: str | None
    system: str | None = None
    shots: tuple[Example, ...] = ()


class Services:
    """A cloud service and its device; a context manager that is left with everything ended.

    Args:
        pair: What is evaluated.
        state: An empty folder for logs, stores and merged models.
        larger: The GGUF of a larger model, or None.
        settings: Of the device, by the names of its environment variables.
    """

    def __init__(self, pair: ModelPair, state: Path, larger: Path | None, settings: Mapping[str, str]) -> None:
        self._stack = LocalStack(pair, state, channel="evaluation", edge_settings=settings)
        self._state, self._larger, self._settings = state, larger, settings
        self._open = ExitStack()
        self._merges = True

    def __enter__(self) -> Self:
        """Start everything.

        Raises:
            ClientError: A service does not become ready.
        """
        with ExitStack() as stack:
            stack.enter_context(self._stack)
            if self._larger is not None:
                self._larger_device = stack.enter_context(self._start_larger(stack, self._larger))
            self._open = stack.pop_all()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """End everything."""
        self._open.__exit__(kind, error, traceback)

    def specialize(self, name: str, task: TaskDescription, choices: Sequence[str] = ()) -> ServedModel | None:
        """Let the device serve a task under a name; None when the cloud service refuses the task.

        Args:
            name: On the device.
            task: What the cloud service reads.
            choices: The closed set of answers; empty for any text.

        Raises:
            ClientError: A service does not do its part.
        """
        answer = self._generate(task_body(task, choices), f"{self._stack.channel}/{name}")
        return None if answer is None else self._wait(name, answer.id)

    def specialize_average(self, descriptions: Sequence[TaskDescription]) -> None:
        """Let the device serve the mean of what the generator gives for these descriptions.

        Raises:
            ClientError: A service does not do its part.
            ValueError: Not one description is answered by gates.
        """
        bodies = [{**task_body(each), "include": ["gates"]} for each in descriptions]
        answers = [answer for body in bodies if (answer := self._generate(body)) is not None]
        bundle_id = store_average(self._stack.cloud, self._state, mean_gates(answers))
        self._stack.cloud.publish(self._stack.channel, AVERAGE, bundle_id)
        self._wait(AVERAGE, bundle_id)

    def ask(self, task: SuiteTask, way: Way) -> Answers:
        """The greedy answers to all inputs of a task; of its closed set, where it has one.

        Raises:
            ClientError: A service does not do its part.
        """
        model, device = way.model, self._stack.device
        if model is None:
            return Answers(("",) * len(task.instances), (), ())
        turns = [
            {"role": role, "content": text}
            for shot in way.shots
            for role, text in (("user", shot.input), ("assistant", shot.output))
        ]

        def send(text: str, choices: Sequence[str], longest: int) -> Completion:
            messages = [*turns, {"role": "user", "content": text}]
            return device.chat(model, messages, system=way.system, temperature=0, max_tokens=longest, choices=choices)

        # The first request may load the model: that is no part of any answer.
        device.chat(model, "Hello.", temperature=0, max_tokens=1)
        return _answers(task, send)

    def ask_larger(self, task: SuiteTask) -> Answers:
        """The same of the larger model, which needs no chat template: in plain lines, as examples are written.

        Raises:
            ClientError: Its device does not do its part.
        """
        prompt = render_prompt(task.description)

        def send(text: str, choices: Sequence[str], longest: int) -> Completion:
            # A word at the start of a line is a different token from the same word after a space.
            return self._larger_device.complete(
                BASE,
                f"{prompt}\n\nInput: {text}\nOutput:",
                temperature=0,
                max_tokens=longest + 1,
                stop=["\n"],
                choices=[f" {choice}" for choice in choices],
            )

        self._larger_device.complete(BASE, "Hello.", temperature=0, max_tokens=1)
        return _answers(task, send)

    def _generate(self, body: Mapping[str, Any], publish: str | None = None) -> Generated | None:
        try:
            return self._stack.cloud.generate(body, publish=publish)
        except RemoteError as error:
            if is_refusal(error):
                return None
            raise

    def _wait(self, name: str, bundle_id: str) -> ServedModel:
        wait = self._stack.device.wait_until_serving
        if self._merges:
            try:
                return wait(name, bundle_id, merged=True, timeout_seconds=MERGE_SECONDS)
            except WaitError:
                self._merges = False  # the device keeps what it has attached; the others are not waited for
        return wait(name, bundle_id, timeout_seconds=MERGE_SECONDS)

    def _start_larger(self, stack: ExitStack, model: Path) -> DeviceClient:
        (port,) = free_ports(1)
        settings = {
            **self._settings,
            "LORAGEN_EDGE_HOST": "127.0.0.1",
            "LORAGEN_EDGE_PORT": str(port),
            "LORAGEN_EDGE_BASE_MODEL": str(model.resolve()),
            "LORAGEN_EDGE_DATA_DIR": str(self._state / "larger"),
        }
        log = self._state / "larger.log"
        process = stack.enter_context(ServiceProcess("larger", ["-m", "edge_runtime"], settings, log))
        # Whatever proxy the environment names, loopback is reached without it.
        client = DeviceClient(f"http://127.0.0.1:{port}", transport=httpx2.HTTPTransport())
        process.wait_until_ready(client)
        return client


def _answers(task: SuiteTask, send: Callable[[str, Sequence[str], int], Completion]) -> Answers:
    texts, seconds, tokens = [], [], []
    for number, instance in enumerate(task.instances):
        choices = task.choices[number] if task.choices else ()
        started = time.perf_counter()
        try:
            answer = send(instance.input, choices, longest_answer(task))
        except RemoteError as error:
            if not is_refusal(error):
                raise
            texts.append("")
            continue
        seconds.append(time.perf_counter() - started)
        texts.append(answer.as_text.strip())
        tokens.append(answer.usage.prompt_tokens)
    return Answers(tuple(texts), tuple(seconds), tuple(tokens))


def task_body(task: TaskDescription, choices: Sequence[str] = ()) -> dict[str, Any]:
    """The body of `POST /generate-lora` for a task; the service renders the same prompt from it."""
    body: dict[str, Any] = {
        "description": task.description,
        "examples": [{"input": example.input, "output": example.output} for example in task.examples],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": {
                        "type": "object",
                        "properties": {name: {"type": "string"} for name in tool.parameters},
                    },
                },
            }
            for tool in task.tools
        ],
        "output_format": task.output_format,
    }
    if choices:
        body["answer"] = {"type": "choice", "choices": list(choices)}
    return body


def longest_answer(task: SuiteTask) -> int:
    """Tokens that an answer may have: as many as the longest text that can be right needs, by a safe guess."""
    if task.choices:  # one of them is spelled to its end
        return max(len(choice.encode()) for choices in task.choices for choice in choices) + 1
    # English has about four characters a token, and names and JSON three.
    return min(LONGEST_ANSWER, max(len(instance.output) for instance in task.instances) // 2 + 4)


def is_refusal(error: RemoteError) -> bool:
    """Whether a service will refuse this again: what it was given is too long, or of a kind that it does not take."""
    return error.status in (400, 413, 422)
