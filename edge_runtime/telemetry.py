"""Metrics of the device, and the records of requests and of attempts to update.

Rules: records carry sizes, times, ids and outcomes, never a prompt, an answer, a key or a weight; metric labels come
from closed sets, so that clients cannot grow them. Names begin with `loragen_edge_`; what the cloud service measures
too has the same name and labels behind that. The core fills in records and knows no Prometheus. The record of a
request is logged by `loragen.web.scope`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import structlog
from prometheus_client.metrics import Counter, Gauge, Histogram
from prometheus_client.registry import CollectorRegistry

from edge_runtime.speeds import Speeds
from loragen.web.scope import RequestRecord

_log = structlog.get_logger(__name__)

_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SPEED_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_MERGE_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(slots=True, kw_only=True)
class CompletionRecord(RequestRecord):
    """One HTTP request to the device; what is None was not reached, or is no completion.

    Attributes:
        model: Specialization that was asked for, when it exists.
        fingerprint: Revision that answered.
        first_token_seconds: From arrival to the first piece of text.
        decode_seconds: From the end of the prompt to the end of the answer.
    """

    model: str | None = None
    fingerprint: str | None = None
    streamed: bool | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None
    first_token_seconds: float | None = None
    decode_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """One attempt to update: a poll, or one step of bringing a specialization here.

    Attributes:
        step: `poll`, `fetch`, `attach`, `merge`, `restore`, `rollback` or `remove`.
        outcome: `ok`, `unchanged`, or the code of the error that ended it.
        name: Specialization; None for a poll.
        source: Where the bundle came from: `recipe`, `bundle` or `disk`.
    """

    step: str
    outcome: str
    duration_seconds: float
    channel: str
    name: str | None = None
    bundle_id: str | None = None
    source: str | None = None
    retained_delta: float | None = None
    message: str | None = None


class Telemetry:
    """Counts and writes records. Has a registry of its own, so that several devices fit in one process (tests)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter("requests_total", "HTTP requests.", "route", "code", "status")
        self._tokens = self._counter("tokens_total", "Tokens, by kind: prompt, cached, completion.", "kind")
        self._first_token = self._histogram("time_to_first_token_seconds", "Arrival to first text.", _LATENCY_BUCKETS)
        self._speed = self._histogram("decode_tokens_per_second", "Speed after the first token.", _SPEED_BUCKETS)
        self._updates = self._counter("update_attempts_total", "Update attempts.", "step", "outcome")
        self._merge_seconds = Histogram(
            "loragen_edge_merge_seconds", "Merging and quantizing.", buckets=_MERGE_BUCKETS, registry=self.registry
        )

        self._speeds = Speeds()
        self.on_update: Callable[[UpdateRecord], None] = lambda _record: None
        """Called with each attempt to update."""

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Expose a value that is read when metrics are asked for."""
        Gauge(f"loragen_edge_{name}", text, registry=self.registry).set_function(read)

    def request_finished(self, record: CompletionRecord) -> None:
        """Count a request."""
        self._requests.labels(record.route, record.code or str(record.status), str(record.status)).inc()
        revision, _, bundle_id = (record.fingerprint or "none").partition("-")
        state = revision.partition(".")[0]
        for kind, count in (
            ("prompt", record.prompt_tokens),
            ("cached", record.cached_tokens),
            ("completion", record.completion_tokens),
        ):
            if count:
                self._tokens.labels(kind).inc(count)
        if record.first_token_seconds is not None:
            self._first_token.labels(state).observe(record.first_token_seconds)
        # One token has no speed: there is nothing after the first.
        if record.decode_seconds and record.completion_tokens and record.completion_tokens > 1:
            speed = (record.completion_tokens - 1) / record.decode_seconds
            self._speed.labels(state).observe(speed)
            if record.model is not None:
                self._speeds.add(record.model, bundle_id, speed)

    def speeds(self) -> Mapping[str, float]:
        """Tokens per second of each model's last answer, by name."""
        return self._speeds.latest()

    def slower(self) -> frozenset[str]:
        """Names whose bundle is clearly slower than the one before it."""
        return self._speeds.slower()

    def update_finished(self, record: UpdateRecord) -> None:
        """Count and log an update attempt."""
        self.on_update(record)
        self._updates.labels(record.step, record.outcome).inc()
        if record.step == "merge" and record.outcome == "ok":
            self._merge_seconds.observe(record.duration_seconds)
        level = logging.INFO if record.outcome in ("ok", "unchanged") else logging.WARNING
        if record.step == "poll" and record.outcome == "unchanged":
            level = logging.DEBUG
        _log.log(level, "update", **{k: v for k, v in asdict(record).items() if v is not None})

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"loragen_edge_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"loragen_edge_{name}", text, ("state",), buckets=buckets, registry=self.registry)
