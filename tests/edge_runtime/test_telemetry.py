"""What a device counts, and the records of its updates."""

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from edge_runtime.telemetry import CompletionRecord, Telemetry, UpdateRecord


def samples(telemetry: Telemetry) -> dict[tuple[str, ...], float]:
    """Values by name and labels."""
    return {
        (sample.name.removeprefix("loragen_edge_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(generate_latest(telemetry.registry).decode())
        for sample in family.samples
    }


def test_completion_is_counted_with_its_tokens_and_times() -> None:
    telemetry = Telemetry()
    record = CompletionRecord(request_id="a", method="POST", route="/v1/completions", status=200)
    record.fingerprint = "merged.12345678-" + "a" * 64
    record.prompt_tokens, record.cached_tokens, record.completion_tokens = 8, 0, 5
    record.first_token_seconds, record.decode_seconds = 0.5, 2.0
    telemetry.request_finished(record)
    found = samples(telemetry)
    assert found["requests_total", "/v1/completions", "200", "200"] == 1
    assert (found["tokens_total", "prompt"], found["tokens_total", "completion"]) == (8, 5)
    assert ("tokens_total", "cached") not in found
    assert found["time_to_first_token_seconds_sum", "merged"] == 0.5
    assert found["decode_tokens_per_second_sum", "merged"] == 2.0


def test_answer_of_one_token_has_no_speed() -> None:
    telemetry = Telemetry()
    record = CompletionRecord(request_id="a", route="/v1/completions", status=200)
    record.completion_tokens, record.decode_seconds = 1, 0.001
    telemetry.request_finished(record)
    assert not any(name[0].startswith("decode_tokens") for name in samples(telemetry))


@pytest.mark.parametrize(
    ("step", "outcome", "level"),
    [("poll", "unchanged", "debug"), ("merge", "ok", "info"), ("fetch", "digest_mismatch", "warning")],
)
def test_update_has_one_record(step: str, outcome: str, level: str) -> None:
    telemetry = Telemetry()
    with capture_logs() as logged:
        telemetry.update_finished(UpdateRecord(step, outcome, 1.5, "default", name="router"))
    fields = {"step": step, "outcome": outcome, "duration_seconds": 1.5, "channel": "default", "name": "router"}
    assert logged == [{"event": "update", "log_level": level, **fields}]
    found = samples(telemetry)
    assert found["update_attempts_total", *sorted((step, outcome))] == 1
    assert found["merge_seconds_count",] == (step == "merge")


def test_gauge_is_read_when_it_is_asked_for() -> None:
    telemetry, value = Telemetry(), 1.0
    telemetry.gauge("level", "Of something.", lambda: value)
    value = 2.0
    assert samples(telemetry)["level",] == 2.0


def test_speed_of_each_models_last_answer_is_known() -> None:
    telemetry = Telemetry()
    for speed in (10, 20):
        telemetry.request_finished(
            CompletionRecord(request_id="a", model="router", completion_tokens=speed + 1, decode_seconds=1.0)
        )
    telemetry.request_finished(CompletionRecord(request_id="b", model="one", completion_tokens=1))
    assert telemetry.speeds() == {"router": 20.0}


def test_model_that_got_slower_with_another_bundle_is_known_and_another_state_of_one_bundle_is_none() -> None:
    telemetry = Telemetry()
    for fingerprint, seconds in (("adapter.1-old", 1.0), ("merged.2-old", 1.0), ("merged.3-new", 3.0)):
        assert telemetry.slower() == frozenset()
        for _ in range(9):
            record = CompletionRecord(request_id="a", model="router", completion_tokens=31, decode_seconds=seconds)
            record.fingerprint = fingerprint
            telemetry.request_finished(record)
    assert telemetry.slower() == {"router"}
