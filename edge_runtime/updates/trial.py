"""The trial: what a candidate must show before it may serve. It runs in a process of its own (`canary_process`).

A candidate loads, gives finite numbers, and reads a fixed English text about as well as the base. A merged model also
agrees with the run-time adapter that it is to replace. The bounds are wide: a specialization may forget a text that is
not of its task, and quantization moves every number a little. They find what is broken, not what is bad: that is
measured where specializations are made.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from math import exp, log
from pathlib import Path

from edge_runtime.errors import CanaryError
from edge_runtime.serving.engine import Engine, EngineLoader, Token

TRIAL_TEXT = (
    "The library opens at nine in the morning and closes at six in the evening. On Sundays, readers may return books "
    "through the slot beside the door, which is emptied every Monday."
)

TRIAL_TOKENS = 32
"""Tokens of the text that are read: one batch, so that the trial costs a slow device a second or two."""

CONTEXT_TOKENS = 128
"""Context of the trial; at the shapes of Llama 3 8B its keys and values take 16 MB."""

MAX_LOSS_RISE = 3.0
"""Natural logarithm of how many times the base's perplexity is still taken for a specialization that forgot; those of
SmolLM2 have 0.1 to 1.1."""

MIN_AGREEMENT = 0.75
"""Of a merged model with its adapter. Measured on four specializations of SmolLM2: 0.87 to 0.97 for right merges as
Q4_K and Q8_0, 0.43 to 0.77 for a LoRA that is in the model twice, 0.64 to 0.77 for one that is not there."""

_LIKELIEST = 16
"""Tokens compared in each place."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is to serve, and what it is compared with.

    Attributes:
        model: GGUF file.
        adapter: GGUF adapter attached to it at run time; None when nothing is attached.
        base: The model without a LoRA, as it serves.
        attached: The adapter of the same LoRA, for a merged model; None when there is none to compare with.
    """

    model: Path
    adapter: Path | None
    base: Path
    attached: Path | None = None

    @property
    def loaded(self) -> tuple[Path, ...]:
        """Each file as often as the trial loads it."""
        compared = () if self.attached is None else (self.base, self.attached)
        return tuple(path for path in (self.base, self.model, self.adapter, *compared) if path is not None)


@dataclass(frozen=True, slots=True)
class TrialReport:
    """What a candidate showed.

    Attributes:
        loss: Mean negative logarithm of the likelihood of the text's tokens; its exponential is the perplexity.
        base_loss: The same of the base.
        agreement: Share of the likelihood that adapter and merged model give to the same next tokens, on average over
            the places of the text; None when there was nothing to compare.
    """

    loss: float
    base_loss: float
    agreement: float | None = None


def try_candidate(loader: EngineLoader, candidate: Candidate) -> TrialReport:
    """Load a candidate and what it is compared with, and let each read the text. Blocking.

    Raises:
        ModelLoadError: A file is missing, damaged, or does not fit.
        ModelOutputError: The candidate's numbers are not finite.
        CanaryError: It is out of bounds.
    """
    # The base stays loaded meanwhile: an adapter on it shares the model.
    with closing(loader.load(candidate.base, None)) as engine:
        base, vocabulary = _read(engine), engine.vocab_tokens
        found = _load_and_read(loader, candidate.model, candidate.adapter)
        agreement = None
        if candidate.attached is not None:
            agreement = _agreement(_load_and_read(loader, candidate.base, candidate.attached), found)
    report = TrialReport(_loss(found), _loss(base), agreement)
    verify_bounds(report, vocabulary)
    return report


def verify_bounds(report: TrialReport, vocabulary: int) -> None:
    """Check that a candidate is as sane as its base.

    Args:
        report: What it showed.
        vocabulary: Tokens of the model; to guess among them has the loss of their number's logarithm.

    Raises:
        CanaryError: It is not.
    """
    # A base that is itself worse than a guess, such as a random one, is no measure.
    bound = max(report.base_loss + MAX_LOSS_RISE, log(vocabulary))
    if report.loss > bound:
        raise CanaryError(
            f"a fixed text has the loss {report.loss:.2f}, expected at most {bound:.2f}: the base has "
            f"{report.base_loss:.2f}",
            "the LoRA is broken, or for another model",
        )
    if report.agreement is not None and report.agreement < MIN_AGREEMENT:
        raise CanaryError(
            f"the merged model agrees with its adapter to {report.agreement:.2f}, expected at least {MIN_AGREEMENT}",
            "the adapter serves on; another LORAGEN_EDGE_QUANTIZATION may keep more",
        )


def _load_and_read(loader: EngineLoader, model: Path, adapter: Path | None) -> Sequence[Token]:
    with closing(loader.load(model, adapter)) as engine:
        return _read(engine)


def _read(engine: Engine) -> Sequence[Token]:
    """The tokens of the text, each with what the model finds likely in its place."""
    with closing(engine.open()) as sequence:
        steps = sequence.score(engine.tokenize(TRIAL_TEXT)[:TRIAL_TOKENS], _LIKELIEST)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                read: Sequence[Token] = end.value
                return read
            engine.step()


def _loss(read: Sequence[Token]) -> float:
    logprobs = [token.likelihood.logprob for token in read[1:-1] if token.likelihood is not None]
    return -sum(logprobs) / len(logprobs)


def _agreement(left: Sequence[Token], right: Sequence[Token]) -> float:
    return sum(_shared(*pair) for pair in zip(left[1:], right[1:], strict=True)) / (len(left) - 1)


def _shared(left: Token, right: Token) -> float:
    """What two models give to the same tokens, of all that they give to their likeliest ones; 1 when they are equal."""
    p, q = ({each.piece: exp(each.logprob) for each in token.likeliest} for token in (left, right))
    return sum(min(p[piece], q.get(piece, 0.0)) for piece in p) / max(sum(p.values()), sum(q.values()))
