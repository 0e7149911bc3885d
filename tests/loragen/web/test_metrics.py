"""The answer of `/metrics` is what Prometheus's own parser reads, with its content type."""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from loragen.web.metrics import metrics_answer


def test_answer_has_the_values_of_now() -> None:
    registry = CollectorRegistry()
    counter = Counter("loaves", "Loaves baked.", registry=registry)
    for count in (1.0, 2.0):
        counter.inc()
        answer = metrics_answer(registry)
        families = text_string_to_metric_families(bytes(answer.body).decode())
        samples = [sample for family in families for sample in family.samples]
        assert [sample.value for sample in samples if sample.name == "loaves_total"] == [count]
    assert answer.headers["content-type"] == CONTENT_TYPE_LATEST
