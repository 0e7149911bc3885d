"""Trains the call experts: the part of a bank that writes the arguments of a call once its function is chosen.

The choice head chooses the function by a code. The device puts the beginning of the call in place of the code, and the
model goes on under the grammar of the function's parameters:

    {"name": "find_flight", "arguments": {"to": "Paris", "seats": 2, "class": null}}
                                                ^^^^^^^           ^           ^^^^  is what is trained

The grammar writes the names of all parameters in front of their values, so that one set of experts serves all
functions, and asks for each of them: what the request does not give is null. The experts act at the request as well,
where the choice head reads; a penalty keeps what it reads as it was.
"""

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cloud_service.answer.choices import Choice, describe_choices
from cloud_service.generator.answer_batch import AnswerBatch, answer_losses
from cloud_service.generator.choice_head import ChoiceHead
from cloud_service.generator.experts import ExpertBank
from cloud_service.generator.last_layer import LastLayer
from cloud_service.generator.meanings import SentenceEncoder
from training.data.corpus import Split
from training.data.families.function_calls import FunctionCalls
from training.fit.edge_answers import EdgeAnswers
from training.fit.generator import grouped
from training.fit.processes import Processes

FIRST_ARGUMENT_DRAW = 1_000_000
"""Number of the first draw of `read_arguments`, beyond those of training."""

JSON_NUMBER = re.compile(r"(0|[1-9]\d{0,11})(\.\d+)?")
"""Values that are written as a number, in half of the sets."""

RIVALS: Mapping[str, tuple[str, ...]] = {
    ' "': (" ", " true", " false"),
    " ": (' "', " true", " false"),
    " true": (' "', " "),
    " false": (' "', " "),
    '",': ('"}',),
    '"}': ('",',),
    ",": ("}",),
    "}": (",",),
}
"""Where a value begins or ends like this, a grammar forbids the others: it knows the value's type and what follows."""

SMALLEST_SPREAD = 1e-3
SPREAD_READ = 128
"""Requests from which the spread of what the choice head reads is measured."""


@dataclass(frozen=True, slots=True)
class CallSettings:
    """How call experts are trained.

    Attributes:
        sets: Sets of functions in one step.
        requests: Requests of each set.
        steady: Weight of the penalty on what changes where the choice head reads, in squared standard deviations.
        numbers: Share of the sets in which digits are written as a JSON number.
        made: Share of the sets whose functions are published ones, called by made messages.
        apps: Share of the sets whose functions are those of applications, called by made messages.
        longest_request: Tokens of a request; a longer one loses its beginning.
        argument_draws: Draws like those of a step whose arguments the choice head is fitted to ignore.
    """

    steps: int = 150
    sets: int = 8
    requests: int = 2
    learning_rate: float = 2e-3
    warmup: int = 10
    weight_decay: float = 0.01
    steady: float = 1.0
    numbers: float = 0.5
    made: float = 0.35
    apps: float = 0.4
    longest_request: int = 96
    argument_draws: int = 30
    seed: int = 0


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """A request, and the call that answers it, in its two parts.

    Attributes:
        values: Where the values of the arguments stand in `arguments`, each with the sign behind it.
        choices: The functions of its set, as the choice head has them.
    """

    request: str
    beginning: str
    arguments: str
    values: tuple[tuple[int, int], ...]
    choices: tuple[Choice, ...] = ()


class CallDraws:
    """Calls of a step, drawn from the step's number alone.

    Args:
        family: Functions that are called by messages of people.
        made: Published functions that are called by made messages.
        apps: Functions of applications that are called by made messages.
        settings: How many are drawn.
    """

    def __init__(self, family: FunctionCalls, made: FunctionCalls, apps: FunctionCalls, settings: CallSettings) -> None:
        self._families, self._settings = (made, apps, family), settings
        self._shares = (settings.made, settings.apps, 1 - settings.made - settings.apps)

    def draw(self, step: int, split: Split = "train") -> list[WrittenCall]:
        """Calls of several sets of functions."""
        settings = self._settings
        rng = random.Random(f"calls/{split}/{settings.seed}/{step}")
        calls = []
        for _ in range(settings.sets):
            as_numbers = rng.random() < settings.numbers
            (family,) = rng.choices(self._families, self._shares)
            episode = family.draw(rng, split, settings.requests)
            parameters = {tool.name: tool.parameters for tool in episode.task.tools}
            choices = describe_choices(replace(episode.task, examples=()), tuple(parameters))
            calls += [
                replace(written(each.input, each.output, parameters, as_numbers), choices=choices)
                for each in episode.instances
            ]
        return calls


def written(request: str, call: str, parameters: Mapping[str, Sequence[str]], as_numbers: bool) -> WrittenCall:
    """A call in its two parts.

    Args:
        request: What the user says.
        call: Canonical JSON with name and arguments.
        parameters: Of each function, in the order in which they are written.
        as_numbers: Write values that are numbers as such.
    """
    fields: Mapping[str, Any] = json.loads(call)
    text, values = " {", []
    for name in parameters[fields["name"]]:
        text += f"{'' if text == ' {' else ', '}{json.dumps(name, ensure_ascii=False)}: "
        value = _json_value(fields["arguments"].get(name), as_numbers)
        values.append((len(text), len(text) + len(value) + 1))
        text += value
    beginning = f'{{"name": {json.dumps(fields["name"], ensure_ascii=False)}, "arguments":'
    return WrittenCall(request, beginning, f"{text}}}", tuple(values))


def _json_value(value: str | None, as_numbers: bool) -> str:
    if value is None:
        return "null"
    if value in ("true", "false") or (as_numbers and JSON_NUMBER.fullmatch(value)):
        return value
    return json.dumps(value, ensure_ascii=False)


class CallStep:
    """What one step computes: the loss on arguments, and the penalty.

    Args:
        experts: The call experts.
        edge: The frozen edge model.
        layer: Its last layer, which the choice head reads.
        draws: Where a step's calls come from.
        settings: How.
        processes: Those that share the step.
        head: The choice head, which pushes codes while arguments are written, too; fitted.
        sentences: Says what its choices mean.
    """

    def __init__(
        self,
        experts: ExpertBank,
        edge: EdgeAnswers,
        layer: LastLayer,
        draws: CallDraws,
        settings: CallSettings,
        processes: Processes,
        head: ChoiceHead | None = None,
        sentences: SentenceEncoder | None = None,
    ) -> None:
        self._experts, self._edge, self._layer, self._draws, self._settings = experts, edge, layer, draws, settings
        self._processes, self._device = processes, edge.model.device
        self._head, self._sentences = head, sentences
        self._rivals = self._find_rivals()
        some = [call.request for step in range(SPREAD_READ // 8) for call in draws.draw(-1 - step)][:SPREAD_READ]
        self._spread = layer.read(some).float().std(0).to(self._device) + SMALLEST_SPREAD  # (inner,)

    def __call__(self, step: int) -> tuple[Tensor, int]:
        """This process's share of the step's loss, and the tokens it took."""
        drawn = self._draws.draw(step)
        calls = drawn[self._processes.share(len(drawn))]
        loss, count = torch.zeros((), device=self._device), 0
        factors = self._experts(self._experts.whole_gates)
        encoded = [self.encode(call) for call in calls]
        before = (
            self._layer.read([call.request for call in calls]).float().to(self._device)
        )  # (calls, inner): no experts
        for group in grouped([len(request) + len(rest) + len(answer) for request, rest, answer in encoded], parts=4):
            batch = AnswerBatch.of([(encoded[i][0] + encoded[i][1], encoded[i][2]) for i in group])
            batch = batch.only([of_value for i in group for of_value in self._of_values(calls[i])]).to(self._device)
            ends = torch.tensor([len(encoded[i][0]) - 1 for i in group])
            with self._pushed([calls[i] for i in group]), self._layer.observed() as seen:
                losses = answer_losses(self.allowed(self._edge.logits(batch, factors), batch), batch)
            now = seen[0][torch.arange(len(group)), ends]
            drift = ((now - before[group]) / self._spread).square().mean(-1)  # (calls of the group,)
            loss = loss + (losses + self._settings.steady * drift).sum() / len(drawn)
            count += batch.count
        return loss, count

    def allowed(self, logits: Tensor, batch: AnswerBatch) -> Tensor:
        """Logits (answer tokens, vocabulary) without the tokens that a grammar forbids where a value begins or ends."""
        forbidden = torch.zeros_like(logits, dtype=torch.bool)
        for token, rivals in self._rivals.items():
            places = (batch.targets == token).nonzero()
            forbidden[places, torch.tensor(rivals, device=places.device)] = True
        return logits.masked_fill(forbidden, -torch.inf)

    @torch.no_grad()
    def read_arguments(self, steps: int) -> Tensor:
        """What the last `down` gets while arguments of training are written, (places, inner) float16."""
        factors, found = self._experts(self._experts.whole_gates), []
        for step in range(steps):
            encoded = [self.encode(call) for call in self._draws.draw(FIRST_ARGUMENT_DRAW + step)]
            batch = AnswerBatch.of([(request + rest, answer) for request, rest, answer in encoded]).to(self._device)
            with self._layer.observed() as seen:
                self._edge.logits(batch, factors)
            found.append(seen[0][batch.rows, batch.places].half().cpu())
        return torch.cat(found)

    def encode(self, call: WrittenCall) -> tuple[list[int], list[int], list[int]]:
        """Ids of the request, of the call's beginning, and of its arguments, as a device has them."""
        request = self._edge.chat.question(call.request)[-self._settings.longest_request :]
        beginning, arguments = (self._edge.chat.answer(text)[:-1] for text in (call.beginning, call.arguments))
        return request, beginning, arguments

    def _find_rivals(self) -> dict[int, list[int]]:
        """`RIVALS` as tokens; what is no single token of this edge model is left out."""
        encoded = {text: self._edge.chat.answer(text)[:-1] for text in RIVALS}
        ids = {text: found[0] for text, found in encoded.items() if len(found) == 1}
        rivals = {text: [ids[each] for each in RIVALS[text] if each in ids] for text in ids}
        return {ids[text]: found for text, found in rivals.items() if found}

    @contextmanager
    def _pushed(self, calls: Sequence[WrittenCall]) -> Iterator[None]:
        """Within, the choice head acts as it does on a device, with the functions of each call's set."""
        if self._head is None or self._sentences is None:
            yield
            return
        with torch.no_grad():
            meanings = self._sentences.read([call.choices for call in calls]).to(self._device)
            keys = self._head(meanings)[:, 0]  # (calls, functions, rank)
        with self._layer.under(self._head, keys):
            yield

    def _of_values(self, call: WrittenCall) -> list[bool]:
        """Whether a token of the arguments is of a value; the grammar writes the others."""
        spans = self._edge.chat.answer_spans(call.arguments)
        return [any(start < last and first < end for first, last in call.values) for start, end in spans]
