"""Settings: defaults, refusals, and what is derived from them."""

import platform
from pathlib import Path

import pytest

from edge_runtime.config import EdgeSettings
from loragen.contract.names import verify_device_name
from loragen.default_pair import DEFAULT_PAIR
from loragen.web.errors import ConfigurationError


def test_defaults_need_no_environment() -> None:
    settings = EdgeSettings.load()
    assert settings.cloud_url is None
    assert str(settings.base_model) == DEFAULT_PAIR.edge_model
    assert settings.effective_device_id
    assert settings.effective_threads >= 1


@pytest.mark.parametrize(
    ("host", "expected"),
    [("LAPTOP-X", "laptop-x"), ("Johns-MacBook.local", "johns-macbook-local"), ("x" * 300, "x" * 253), ("", "device")],
)
def test_host_name_becomes_a_device_id_that_the_cloud_takes(
    monkeypatch: pytest.MonkeyPatch, host: str, expected: str
) -> None:
    monkeypatch.setattr(platform, "node", lambda: host)
    assert verify_device_name(EdgeSettings().effective_device_id) == expected


def test_longest_name_of_a_kubernetes_node_is_a_device_id(monkeypatch: pytest.MonkeyPatch) -> None:
    node = ".".join(["n" * 63] * 3 + ["n" * 61])
    assert len(node) == 253
    monkeypatch.setenv("LORAGEN_EDGE_DEVICE_ID", node)
    assert EdgeSettings.load().effective_device_id == node


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLOUD_URL", "ftp://cloud"),
        ("CLOUD_URL", "cloud:8080"),
        ("CHANNEL", "../secrets"),
        ("CHANNEL", "Upper"),
        ("DEVICE_ID", "LAPTOP-X"),
        ("DEVICE_ID", "x" * 254),
        ("QUANTIZATION", "Q3_K"),
        ("PORT", "70000"),
        ("MAX_RESIDENT", "0"),
        ("SERVING_MODE", "both"),
        ("MAX_MODEL_BYTES", "-1"),
        ("POLL_INTERVAL_SECONDS", "0"),
        ("POLL_INTERVAL_SECONDS", "nan"),
        ("ADMIT_BASE_DIGEST", "abc"),
        ("CLOUD_GRPC", "no port"),
        ("LOG_LEVEL", "loud"),
        ("LABELS", "ring"),
        ("LABELS", "Ring=canary"),
        ("LABELS", "ring=a,ring=b"),
        ("API_KEY", "short"),
        ("API_KEY", "with a blank in it"),
        ("CORS_ORIGINS", "app.example"),
        ("CORS_ORIGINS", "https://app.example/path"),
        ("CHAT_TEMPLATE_KWARGS", "enable_thinking"),
        ("CHAT_TEMPLATE_KWARGS", '{"messages": "x"}'),
        ("CHAT_TEMPLATE_KWARGS", '{"enable_thinking": []}'),
    ],
)
def test_bad_value_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("LORAGEN_EDGE_CLOUD_URL", "http://127.0.0.1:1")
    monkeypatch.setenv(f"LORAGEN_EDGE_{name}", value)
    with pytest.raises(ConfigurationError, match=f"LORAGEN_EDGE_{name}"):
        EdgeSettings.load()


def test_all_bad_values_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_EDGE_PORT", "70000")
    monkeypatch.setenv("LORAGEN_EDGE_QUANTIZATION", "Q3_K")
    with pytest.raises(ConfigurationError, match=r"LORAGEN_EDGE_PORT: .*\nLORAGEN_EDGE_QUANTIZATION: ") as caught:
        EdgeSettings.load()
    assert len(str(caught.value).splitlines()) == 2


def test_labels_are_names_and_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_EDGE_LABELS", "ring=canary, site=berlin")
    assert EdgeSettings.load().labels == {"ring": "canary", "site": "berlin"}


def test_grpc_without_http_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_EDGE_CLOUD_GRPC", "127.0.0.1:50051")
    with pytest.raises(ConfigurationError, match="LORAGEN_EDGE_CLOUD_URL"):
        EdgeSettings.load()


def test_device_with_a_cloud_decides_whom_it_trusts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unsigned channels are never followed by accident."""
    monkeypatch.setenv("LORAGEN_EDGE_CLOUD_URL", "http://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="LORAGEN_EDGE_ALLOW_UNSIGNED=true"):
        EdgeSettings.load()
    monkeypatch.setenv("LORAGEN_EDGE_TRUSTED_ROOT", "root.json")
    assert EdgeSettings.load().trusted_root == Path("root.json")
    monkeypatch.setenv("LORAGEN_EDGE_ALLOW_UNSIGNED", "true")
    with pytest.raises(ConfigurationError, match="found both"):
        EdgeSettings.load()
    monkeypatch.delenv("LORAGEN_EDGE_TRUSTED_ROOT")
    assert EdgeSettings.load().allow_unsigned


def test_every_setting_is_described() -> None:
    assert all(field.description for field in EdgeSettings.model_fields.values())


def test_slots_share_the_memory_of_their_contexts() -> None:
    assert EdgeSettings(max_context_bytes=1_000, max_resident=4).slot_context_bytes == 250
    assert EdgeSettings(max_resident=1).slot_context_bytes > 2**20


@pytest.mark.parametrize(
    ("mode", "budget", "expected"),
    [("auto", 1_000, 4), ("auto", 10_000, 8), ("auto", 100, 0), ("merged", 100, 8), ("attached", 10_000, 0)],
)
def test_as_many_are_merged_as_mode_and_memory_allow(mode: str, budget: int, expected: int) -> None:
    settings = EdgeSettings.model_validate({"serving_mode": mode, "max_model_bytes": budget})
    policy = settings.merge_policy(100)
    assert policy.max_merged == expected
    assert str(policy).startswith(f"{mode}: ")


def test_half_of_the_memory_is_for_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolLM2 on a device of 1 GB: one specialization is merged, thirty and more are adapters."""
    monkeypatch.setattr("edge_runtime.config.usable_memory", lambda: 1_000_000_000)
    policy = EdgeSettings().merge_policy(98_000_000)
    assert policy.max_merged == 1
    assert "500 MB" in str(policy)


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"CORS_ORIGINS": "*"}, "LORAGEN_EDGE_CORS_ORIGINS=\\* needs LORAGEN_EDGE_API_KEY"),
        ({"TLS_KEY": "key.pem"}, "LORAGEN_EDGE_TLS_CERTIFICATE and LORAGEN_EDGE_TLS_KEY: expected both"),
        ({"TLS_CERTIFICATE": "chain.pem"}, "expected both, found one"),
    ],
)
def test_front_that_does_not_fit_together_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], found: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"LORAGEN_EDGE_{name}", value)
    with pytest.raises(ConfigurationError, match=found):
        EdgeSettings.load()


def test_front_is_set_by_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_EDGE_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("LORAGEN_EDGE_CORS_ORIGINS", "https://app.example, http://localhost:5173,*")
    monkeypatch.setenv("LORAGEN_EDGE_CHAT_TEMPLATE_KWARGS", '{"enable_thinking": false}')
    settings = EdgeSettings.load()
    assert "0123456789abcdef" not in repr(settings)
    assert settings.cors_origins == ("https://app.example", "http://localhost:5173", "*")
    assert settings.chat_template_kwargs == {"enable_thinking": False}
