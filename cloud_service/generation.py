"""The port between the service and a generator, which turns tasks into gates or keys, and the values that pass.

`cloud_service.generator` implements it with torch; tests have a fake of their own.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from cloud_service.answer.choices import Choice, describe_choices
from cloud_service.answer.contract import find_answer
from cloud_service.refinement import EdgeTuner
from cloud_service.task import Example, TaskDescription, render_prompt, residual_texts
from loragen.contract.answer import TEXT_ANSWER, AnswerContract
from loragen.contract.bank import Bank
from loragen.contract.digest import canonical_json, sha256_hex
from loragen.contract.errors import ContractError
from loragen.contract.limits import MAX_PROMPT_TOKENS
from loragen.contract.lora import Linears, Lora
from loragen.contract.recipe import Recipe, encode_recipe
from loragen.contract.residual_prompt import verify_residual_prompt


@dataclass(frozen=True, slots=True)
class GeneratorInfo:
    """The identity, shape and limits of a generator.

    Attributes:
        id: Name chosen at training.
        digest: sha256 over `generator.json`, which lists the digest of every other file of the checkpoint.
        layers: Edge layers L.
        groups: Groups G of projections that have gates of their own, 1 or 3.
        experts: Experts n in each layer.
        rank: LoRA rank of one expert.
        max_prompt_tokens: Longest rendered prompt, in tokens of the cloud model; where the choice head answers, no
            prompt is too long.
        most_choices: Choices of the largest closed set that the choice head answers; 0 without a head.
    """

    id: str
    digest: str
    cloud_model_id: str
    cloud_model_digest: str
    edge_model_id: str
    edge_model_digest: str
    layers: int
    groups: int
    experts: int
    rank: int
    alpha: float
    mix: str
    gating: str
    max_prompt_tokens: int
    most_choices: int = 0


def cache_key(task: TaskDescription, info: GeneratorInfo, tenant: str = "") -> str:
    """sha256 over the normalized request and the generator that answers it; the edge model is the generator's.

    Each tenant has keys of its own. A shared one would tell a tenant, by `cached` or by the time that an answer takes,
    that another has asked for the same; a generation is cheap enough to be made for each of them.
    """
    request: dict[str, Any] = {
        "task": asdict(task.normalized()),
        "edge_model": info.edge_model_id,
        "generator_digest": info.digest,
        **({"tenant": tenant} if tenant else {}),
    }
    return sha256_hex(canonical_json(request))


@dataclass(frozen=True, slots=True)
class Asked:
    """What a generator reads of one task.

    Attributes:
        prompt: The rendered prompt.
        choices: What answers choose from, with what the task says of each; empty where there is nothing to choose.
        residual_texts: What of the task a device may keep in front of each input, the most first, and last without
            examples; the generator decides what is kept.
        answer: What answers may look like, without codes.
    """

    prompt: str
    choices: tuple[Choice, ...] = ()
    residual_texts: tuple[str, ...] = ()
    answer: AnswerContract = TEXT_ANSWER

    @classmethod
    def of(cls, task: TaskDescription) -> Self:
        """What is read of a task description."""
        answer = find_answer(task)
        choices = describe_choices(task, answer.options) if len(answer.options) > 1 else ()
        return cls(render_prompt(task), choices, residual_texts(task), answer)


@dataclass(frozen=True, slots=True)
class Confidence:
    """A calibrated generator's confidence in what it made of a task.

    Attributes:
        score: The expected share, in [0, 1], of the task's inputs that the edge model answers right with the LoRA, and
            not without it.
        is_familiar: Whether the task is near those on which such shares were observed: as near as nearly all of them.
        weight: As many inputs that are answered tell as much of the task as the score does.

    Raises:
        ValueError: The score is not in [0, 1].
    """

    score: float
    is_familiar: bool
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"expected a confidence in [0, 1], found {self.score}")

    def after(self, gained: int, answered: int) -> "Confidence":
        """The confidence once inputs of the task were answered and some of them gained.

        It is the mean of the beta distribution that was before, with mean `score` and `weight` as its two parameters
        together, after these outcomes.
        """
        weight = self.weight + answered
        return Confidence((self.weight * self.score + gained) / weight, self.is_familiar, weight)


@dataclass(frozen=True, slots=True)
class Generation:
    """The outcome of one generation.

    Attributes:
        gates: (adapted layers, groups, experts) float32.
        prompt_tokens: Length of the prompt in tokens of the *edge* model.
        confidence: None when the generator was not calibrated.
        answer: What an answer may look like.
        keys: (choice layers, choices, rank) float32 for the bank's choice head; None unless the answer has codes.
        residual_prompt: What is left of the prompt, in front of each input on the device; empty for none.
        residual_prompt_tokens: Its length in tokens of the edge model, which a call does not save.
    """

    gates: NDArray[np.float32]
    prompt_tokens: int
    confidence: Confidence | None = None
    answer: AnswerContract = TEXT_ANSWER
    keys: NDArray[np.float32] | None = None
    residual_prompt: str = ""
    residual_prompt_tokens: int = 0

    def recipe(self, info: GeneratorInfo, bank_digest: str) -> Recipe:
        """The recipe of this generation, which a generator with this bank made.

        Raises:
            ContractError: Gates or keys that no recipe can hold.
        """
        return Recipe(
            generator_id=info.id,
            generator_digest=info.digest,
            bank_digest=bank_digest,
            edge_model_id=info.edge_model_id,
            edge_model_digest=info.edge_model_digest,
            prompt_tokens=self.prompt_tokens,
            gates=self.gates,
            answer=self.answer,
            keys=self.keys,
            residual_prompt=self.residual_prompt,
            residual_prompt_tokens=self.residual_prompt_tokens,
        )


def most_recipe_bytes(asked: Asked, info: GeneratorInfo, bank: Bank) -> int:
    """Length of the longest recipe that a generator with this bank can make of a task."""
    answer, keys, count = asked.answer, None, len(asked.choices)
    if bank.header.choice is not None and 0 < count <= info.most_choices:
        answer = replace(answer, codes=tuple(sorted(bank.header.choice.codes)[-count:]))
        keys = np.zeros((len(bank.header.choice_layers), count, bank.header.choice.rank), np.float32)
    kept = max(map(_verified_residual_prompt, asked.residual_texts), key=len, default="")
    gates = np.zeros(bank.header.gates_shape, np.float32)
    tokens = MAX_PROMPT_TOKENS if kept else 0
    longest = Generation(gates, MAX_PROMPT_TOKENS, None, answer, keys, kept, tokens)
    return len(encode_recipe(longest.recipe(info, bank.digest)))


def _verified_residual_prompt(text: str) -> str:
    try:
        return verify_residual_prompt(text)
    except ContractError:
        return ""


@dataclass(frozen=True, slots=True)
class EdgeScores:
    """The edge model's scores on given inputs.

    Under a contract with codes the answer is one token, and both scores are taken among the codes alone.

    Attributes:
        right: Whether greedy decoding, held to the contract as on a device, answers exactly, for each input; at least
            one.
        log_likelihood: Natural logarithm of the probability of a whole answer, its end included, or of the code of the
            expected choice; mean over the inputs.
    """

    right: tuple[bool, ...]
    log_likelihood: float

    @property
    def exact_match(self) -> float:
        """Share of the inputs that are right, in [0, 1]."""
        return sum(self.right) / len(self.right)


class EdgeProbe(Protocol):
    """The edge model itself, in memory. Calls block; the caller makes them from one thread at a time."""

    @property
    def max_tokens(self) -> int:
        """Longest input with its answer, in tokens of the edge model."""
        ...

    def count_tokens(self, example: Example, residual_prompt: str = "") -> int:
        """Length of an input with its answer behind a residual prompt, in tokens of the edge model."""
        ...

    def score(
        self,
        examples: Sequence[Example],
        lora: Lora | None,
        answer: AnswerContract = TEXT_ANSWER,
        residual_prompt: str = "",
    ) -> EdgeScores:
        """Scores on at least one input, with no more of the task description than a residual prompt.

        Args:
            examples: Inputs with their answers; where the contract has codes, each answer is one of its choices.
            lora: None scores the base model.
            answer: What the LoRA was made to write, and a device holds it to; any text for the base model.
            residual_prompt: What stands in front of each input; empty for nothing.
        """
        ...


class LoadedGenerator(Protocol):
    """A generator in memory. Calls block; the caller makes them from one thread at a time."""

    @property
    def info(self) -> GeneratorInfo: ...

    @property
    def bank(self) -> Bank: ...

    @property
    def linears(self) -> Linears:
        """Widths of the edge model's linear layers, with which a user's own LoRA is compared."""
        ...

    @property
    def most_at_once(self) -> int | None:
        """Most prompts that one call should have: with more, the first would wait for the last. None for any number."""
        ...

    def count_tokens(self, prompt: str) -> int:
        """Length of a rendered prompt in tokens of the cloud model."""
        ...

    def generate(self, asked: Sequence[Asked]) -> list[Generation]:
        """A generation for each task; what one task gets does not depend on the others.

        With a choice head, a closed set of at most `GeneratorInfo.most_choices` gets keys and codes, and gates that are
        all zero but for those of call experts, where an answer is a call. Without one it gets gates, and a contract
        without codes.
        """
        ...

    def load_probe(self) -> EdgeProbe:
        """Loads the weights of the edge model, which generation does not need. Takes seconds and memory."""
        ...

    def load_tuner(self) -> EdgeTuner:
        """Loads them once more, for another thread, with the experts that refinement needs."""
        ...

    def count_edge_tokens(self, text: str) -> int:
        """Length of a text in tokens of the edge model; may be called on any thread."""
        ...
