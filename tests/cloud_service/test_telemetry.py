"""What the cloud service counts."""

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cloud_service.telemetry import Metrics
from loragen.web.scope import RequestRecord


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Values by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
        for sample in family.samples
    }


def test_request_is_counted_by_route_and_by_code_or_status() -> None:
    metrics = Metrics()
    for status, code in ((200, None), (503, "overloaded")):
        record = RequestRecord(request_id="a", route="/generate-lora", path="/generate-lora?secret", status=status)
        record.code, record.duration_seconds = code, 0.5
        metrics.request_finished(record)
    found = samples(metrics)
    assert found["loragen_cloud_requests_total", "/generate-lora", "200", "http"] == 1
    assert found["loragen_cloud_requests_total", "/generate-lora", "http", "overloaded"] == 1
    assert found["loragen_cloud_request_seconds_sum", "/generate-lora", "http"] == 1.0
    assert b"secret" not in generate_latest(metrics.registry)


def test_hooks_of_the_core_are_counted() -> None:
    metrics = Metrics()
    metrics.queue_changed(3)
    metrics.queue_changed(-2)
    metrics.batch_done([0.1, 0.2], 0.5)
    metrics.rejected()
    metrics.answered(cached=True)
    metrics.assembled(0.25)
    metrics.refining_changed(2)
    metrics.root_read("kitchen", 1_800_000_000)
    metrics.refined("kept", 3.0)
    found = samples(metrics)
    assert found["loragen_cloud_queue_depth",] == 1
    assert found["loragen_cloud_batch_size_sum",] == 2
    assert found["loragen_cloud_queue_seconds_sum",] == pytest.approx(0.3)
    assert found["loragen_cloud_rejections_total",] == 1
    assert (found["loragen_cloud_generations_total", "cache"], found["loragen_cloud_generations_total", "model"]) == (
        1,
        0,
    )
    assert found["loragen_cloud_assemble_seconds_sum",] == 0.25
    assert found["loragen_cloud_signing_root_expires_timestamp_seconds", "kitchen"] == 1_800_000_000
    assert (found["loragen_cloud_refining",], found["loragen_cloud_refine_seconds_sum", "kept"]) == (2, 3.0)
