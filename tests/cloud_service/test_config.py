"""Settings: defaults that run, and bad values that stop the start with a line naming the variable."""

import json
from pathlib import Path

import pytest

from cloud_service.config import CloudSettings
from loragen.default_pair import DEFAULT_PAIR
from loragen.web.errors import ConfigurationError


def test_defaults_describe_the_shipped_pair_and_the_embedded_store() -> None:
    settings = CloudSettings.load()
    assert settings.store_url.get_secret_value() == "sqlite:///build/cloud/store.sqlite3"
    (source,) = settings.generators
    assert (source.directory, source.cloud_model, source.edge_model) == (
        DEFAULT_PAIR.generator,
        DEFAULT_PAIR.cloud_model,
        DEFAULT_PAIR.edge_model,
    )


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source = {"directory": "g", "cloud_model": "c", "edge_model": "e", "device": "cuda"}
    monkeypatch.setenv("LORAGEN_CLOUD_PORT", "9000")
    monkeypatch.setenv("LORAGEN_CLOUD_GENERATORS", json.dumps([source]))
    settings = CloudSettings.load()
    assert settings.port == 9000
    assert settings.generators[0].device == "cuda"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LORAGEN_CLOUD_PORT", "http"),
        ("LORAGEN_CLOUD_PORT", "70000"),
        ("LORAGEN_CLOUD_MAX_BATCH", "0"),
        ("LORAGEN_CLOUD_LOG_LEVEL", "loud"),
        ("LORAGEN_CLOUD_GENERATORS", "models/pair"),
        ("LORAGEN_CLOUD_GENERATORS", "[]"),
        ("LORAGEN_CLOUD_GENERATORS", '[{"directory": "x"}]'),
        ("LORAGEN_CLOUD_REQUEST_TIMEOUT_SECONDS", "-1"),
        ("LORAGEN_CLOUD_STORE_URL", "http://store"),
        ("LORAGEN_CLOUD_STORE_URL", "sqlite://store.sqlite3"),
    ],
)
def test_bad_value_stops_the_start_and_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        CloudSettings.load()
    assert all(line.startswith(variable) for line in str(caught.value).splitlines())
    assert caught.value.hint


def test_generators_may_stand_in_a_file(tmp_path: Path) -> None:
    config = tmp_path / "cloud.toml"
    config.write_text('[[generators]]\ndirectory = "g"\ncloud_model = "c"\nedge_model = "e"\n')
    (source,) = CloudSettings.load(config).generators
    assert source.directory == Path("g")


def test_one_port_for_both_protocols_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_PORT", "9000")
    monkeypatch.setenv("LORAGEN_CLOUD_GRPC_PORT", "9000")
    with pytest.raises(ConfigurationError, match="two ports"):
        CloudSettings.load()


def test_secret_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_STORE_URL", "redis://:hunter2@host")
    settings = CloudSettings.load()
    assert "hunter2" in settings.store_url.get_secret_value()
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_every_setting_is_described() -> None:
    assert all(field.description for field in CloudSettings.model_fields.values())


def test_trusted_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_TRUSTED_PROXIES", "10.0.0.5, 10.1.0.0/16,fd00::/8")
    assert CloudSettings.load().trusted_proxies == ("10.0.0.5/32", "10.1.0.0/16", "fd00::/8")


@pytest.mark.parametrize("value", ["*", "proxy.example.com", "10.0.0.5/8", "10.0.0.5:80"])
def test_proxy_that_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_TRUSTED_PROXIES", value)
    with pytest.raises(ConfigurationError, match="LORAGEN_CLOUD_TRUSTED_PROXIES"):
        CloudSettings.load()
