"""What the cloud service answers, as immutable values. Fields that a later service adds are ignored."""

from collections.abc import Mapping
from dataclasses import dataclass

from loragen.client.call import AnswerModel
from loragen.contract.channel import Specialization


class Reference(AnswerModel):
    """A model or generator, and its digest."""

    id: str
    digest: str


class Timings(AnswerModel):
    """Where the time went, in milliseconds; the parts are 0 when nothing was generated for this answer."""

    queue_ms: float
    generate_ms: float
    assemble_ms: float
    total_ms: float


class TaskWarning(AnswerModel):
    """Something to know of the task description: `low_confidence`, `far_from_training`, `contradictory_examples`."""

    code: str
    message: str


class ProbeScores(AnswerModel):
    """How the edge model did on a probe.

    Attributes:
        exact_match: Share of the inputs that greedy decoding answers exactly.
        log_likelihood: Natural logarithm of the probability of an answer; mean over the inputs.
    """

    exact_match: float
    log_likelihood: float


class Probe(AnswerModel):
    """The edge model on a probe's inputs, without the task description: as it is, and under the LoRA."""

    base: ProbeScores
    specialized: ProbeScores


class Generated(AnswerModel):
    """What became of a task description.

    Attributes:
        id: The bundle's id, the sha256 of its bytes.
        cached: Whether it came from the store.
        gates: (layers, groups, experts), rounded to four decimals.
        prompt_tokens: Length of the prompt that the LoRA replaces, in tokens of the edge model.
        confidence: How likely it is, in [0, 1], that the generator can follow the task; None when it cannot tell.
        probe: None unless the request had one.
    """

    id: str
    bundle_bytes: int
    recipe_id: str
    recipe_bytes: int
    cached: bool
    generator: Reference
    edge_model: Reference
    gates: tuple[tuple[tuple[float, ...], ...], ...]
    prompt_tokens: int
    tokens_saved_per_call: int
    confidence: float | None = None
    warnings: tuple[TaskWarning, ...] = ()
    probe: Probe | None = None
    timings: Timings


@dataclass(frozen=True, slots=True)
class GeneratedBundle:
    """A bundle that came with the answer, verified.

    Attributes:
        id: The sha256 of `data`.
        data: A safetensors file that PEFT loads.
    """

    id: str
    recipe_id: str
    data: bytes


class BankSummary(AnswerModel):
    """The expert bank of a generator."""

    digest: str
    bytes: int


class GeneratorSummary(AnswerModel):
    """A loaded generator."""

    id: str
    digest: str
    default: bool
    cloud_model: Reference
    edge_model: Reference
    layers: int
    groups: int
    experts: int
    rank: int
    alpha: float
    mix: str
    gating: str
    max_prompt_tokens: int
    bank: BankSummary


@dataclass(frozen=True, slots=True)
class ChannelSnapshot:
    """A channel as it was when it was asked for.

    Attributes:
        version: Grows with every change.
        specializations: By name.
        etag: Says in a later call which channel is meant.
    """

    name: str
    version: int
    specializations: Mapping[str, Specialization]
    etag: str


class ReportedSpecialization(AnswerModel):
    """What a device said of one specialization: `pending`, `adapter`, `merged` or `failed`."""

    name: str
    bundle_id: str
    state: str
    message: str = ""


class ReportedDevice(AnswerModel):
    """What a device said last of itself; `reported_at` is when the cloud heard it, ISO 8601, UTC."""

    device_id: str
    channel: str
    channel_version: int
    specializations: tuple[ReportedSpecialization, ...] = ()
    runtime_version: str = ""
    edge_model_digest: str = ""
    reported_at: str = ""
