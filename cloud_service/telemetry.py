"""Metrics of the cloud service: Prometheus counters in a registry of their own, and the hooks that feed them.

The core calls the hooks (`runner.RunnerEvents`, `service.ServiceEvents`) and knows no Prometheus. Labels come from
closed sets, so that clients cannot grow them. Names begin with `loragen_cloud_`, as those of settings do, and what a
device measures too has the same name and labels behind `loragen_edge_`. What may be measured of a model's quality is
the business of `training`.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from loragen.web.scope import RequestRecord

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """All metrics of one service, and the hooks that feed them.

    Attributes:
        registry: Where they are registered; nothing is global, so that tests and processes may hold several.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "loragen_cloud_requests", "Requests by outcome.", ["protocol", "route", "code"], registry=self.registry
        )
        self._request_seconds = Histogram(
            "loragen_cloud_request_seconds",
            "Time of a request.",
            ["protocol", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        # To look for a labelled metric takes longer than to count.
        self._of_labels: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._answers = Counter(
            "loragen_cloud_generations",
            "Answers to generation requests, by where they came from.",
            ["source"],
            registry=self.registry,
        )
        self._queue_depth = Gauge("loragen_cloud_queue_depth", "Prompts that wait for a model.", registry=self.registry)
        self._queue_seconds = Histogram(
            "loragen_cloud_queue_seconds", "Time a prompt waited.", buckets=_SECONDS, registry=self.registry
        )
        self._batch_size = Histogram(
            "loragen_cloud_batch_size", "Prompts in one forward pass.", buckets=_BATCH_SIZES, registry=self.registry
        )
        self._generate_seconds = Histogram(
            "loragen_cloud_generate_seconds", "Time of one forward pass.", buckets=_SECONDS, registry=self.registry
        )
        self._assemble_seconds = Histogram(
            "loragen_cloud_assemble_seconds", "Time to build one bundle.", buckets=_SECONDS, registry=self.registry
        )
        self._refining = Gauge("loragen_cloud_refining", "Refinements that wait or run.", registry=self.registry)
        self._refine_seconds = Histogram(
            "loragen_cloud_refine_seconds",
            "Time of one refinement, by whether its outcome was kept.",
            ["outcome"],
            buckets=(*_SECONDS, 60.0, 120.0, 300.0, 600.0),
            registry=self.registry,
        )
        self._rejections = Counter(
            "loragen_cloud_rejections", "Prompts that found the queue full.", registry=self.registry
        )
        self._channel_changes = Counter(
            "loragen_cloud_channel_changes",
            "Changes of channels and rollouts, by action.",
            ["action"],
            registry=self.registry,
        )
        self._root_expires = Gauge(
            "loragen_cloud_signing_root_expires_timestamp_seconds",
            "When the root of a signed channel expires, Unix time.",
            ["channel"],
            registry=self.registry,
        )
        for action in ("publish", "promote", "abort", "halt"):
            self._channel_changes.labels(action)
        # Made here, so that a rate is defined before the first answer.
        self._from_cache, self._from_model = (self._answers.labels(source) for source in ("cache", "model"))

    def queue_changed(self, change: int) -> None:
        """This many prompts more wait now, or fewer, for one of the models."""
        self._queue_depth.inc(change)

    def batch_done(self, queue_seconds: Sequence[float], generate_seconds: float) -> None:
        """A batch ran."""
        self._batch_size.observe(len(queue_seconds))
        self._generate_seconds.observe(generate_seconds)
        for seconds in queue_seconds:
            self._queue_seconds.observe(seconds)

    def rejected(self) -> None:
        """A prompt found the queue full."""
        self._rejections.inc()

    def answered(self, *, cached: bool) -> None:
        """A generation request was answered."""
        (self._from_cache if cached else self._from_model).inc()

    def assembled(self, seconds: float) -> None:
        """A bundle was built."""
        self._assemble_seconds.observe(seconds)

    def channel_changed(self, action: str) -> None:
        """A channel or its rollout was changed; actions are the service's own words."""
        self._channel_changes.labels(action).inc()

    def root_read(self, channel: str, expires_at: float) -> None:
        """The root of a signed channel was read; the operator chooses which channels are signed."""
        self._root_expires.labels(channel).set(expires_at)

    def refining_changed(self, change: int) -> None:
        """So many refinements more wait or run, or fewer."""
        self._refining.inc(change)

    def refined(self, outcome: str, seconds: float) -> None:
        """A refinement is over."""
        self._refine_seconds.labels(outcome).observe(seconds)

    def request_finished(self, record: RequestRecord) -> None:
        """A request is over, with an answer or without."""
        labels = (record.protocol, record.route, record.code or str(record.status))
        if (counted := self._of_labels.get(labels)) is None:
            seconds = self._request_seconds.labels(*labels[:2])
            counted = self._of_labels[labels] = (self._requests.labels(*labels), seconds)
        counted[0].inc()
        counted[1].observe(record.duration_seconds)
