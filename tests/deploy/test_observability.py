"""Alerts and dashboard: every metric in them is one that a running service exports, and every alert fires when it must.

Where promtool is installed (Debian's package `prometheus`), it checks the rules and plays the cases below.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cloud_service.bootstrap import open_cloud
from cloud_service.http.error_codes import ERROR_CODES
from cloud_service.telemetry import Metrics
from edge_runtime.bootstrap import open_parts
from edge_runtime.config import EdgeSettings
from edge_runtime.convert.converter import FloatType, convert_model
from edge_runtime.telemetry import Telemetry
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import FakeGenerator
from tests.edge_runtime.fakes import FakeLoader
from tests.edge_runtime.tiny_models import byte_level_tokenizer, llama_config, random_model, save_tokenizer

COMPONENT = Path("k8s/components/observability")
OF_PROMETHEUS = {"up"}
OF_THE_MONITOR = {"job", "pod", "le"}
NO_FAULTS = {"overloaded", "draining", "import_budget_used_up", "interrupted"}
"""Codes of 5xx that are no fault of the service: it has as much to do, or to keep, as it may; and that of a job, which
is no request."""

_SAMPLES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def read(root: Path, name: str) -> Any:
    return yaml.safe_load((root / COMPONENT / name).read_text())


def alerts(root: Path) -> list[dict[str, Any]]:
    return [rule for group in read(root, "rules.yaml")["spec"]["groups"] for rule in group["rules"]]


def dashboard(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read(root, "dashboard.yaml")["data"]["loragen.json"])
    return found


def targets(root: Path) -> Iterator[dict[str, Any]]:
    for panel in dashboard(root)["panels"]:
        yield from panel.get("targets", ())


def expressions(root: Path) -> list[str]:
    return [rule["expr"] for rule in alerts(root)] + [target["expr"] for target in targets(root)]


def names_and_labels(expression: str) -> tuple[set[str], set[str]]:
    """The metrics and the labels that an expression of PromQL names."""
    text = re.sub(r'"[^"]*"', '""', expression)
    text = re.sub(r"\[[^\]]*\]|offset \w+", "", text)
    labels = {name for part in re.findall(r"\{([^}]*)\}", text) for name in re.findall(r"(\w+)\s*(?:=|!)", part)}
    labels |= {name for part in re.findall(r"by \(([^)]*)\)", text) for name in re.findall(r"\w+", part)}
    text = re.sub(r"\{[^}]*\}|by \([^)]*\)", "", text)
    return set(re.findall(r"\b[a-z_]\w*\b(?!\s*\()", text)) - {"sum", "min"}, labels


def exported(text: str) -> set[str]:
    """The samples that the families of an exposition may have."""
    return {
        f"{family.name}{suffix}" for family in text_string_to_metric_families(text) for suffix in _SAMPLES[family.type]
    }


def label_names(registry: CollectorRegistry) -> dict[str, set[str]]:
    """The labels of each metric, by the names of its samples."""
    return {name: set(getattr(made, "_labelnames", ())) for name, made in registry._names_to_collectors.items()}


@pytest.fixture
def tiny_base(tmp_path: Path) -> Path:
    random_model(llama_config(), seed=5, scale=0.1).save_pretrained(tmp_path / "tiny")
    save_tokenizer(byte_level_tokenizer(), tmp_path / "tiny")
    convert_model(tmp_path / "tiny", tmp_path / "base.gguf", FloatType.F16, "tiny")
    return tmp_path / "base.gguf"


@pytest_asyncio.fixture
async def running(tmp_path: Path, tiny_base: Path) -> set[str]:
    """What both services export while they run."""
    async with open_cloud(settings_for(tmp_path), [FakeGenerator(tmp_path)]) as cloud, client_of(cloud) as http:
        names = exported((await http.get("/metrics")).text)
    settings = EdgeSettings.model_validate({"base_model": tiny_base, "data_dir": tmp_path / "device"})
    async with open_parts(settings, FakeLoader()) as parts:
        return names | exported(generate_latest(parts.telemetry.registry).decode())


async def test_every_metric_is_one_that_a_running_service_exports(root: Path, running: set[str]) -> None:
    named = {name for expression in expressions(root) for name in names_and_labels(expression)[0]}
    assert len(named) > 20
    assert named - OF_PROMETHEUS <= running, "teach the service to export them, or the dashboard to do without"


def test_names_begin_with_their_service_and_what_both_measure_has_the_same_labels() -> None:
    cloud, edge = label_names(Metrics().registry), label_names(Telemetry().registry)
    for prefix, names in (("loragen_cloud_", cloud), ("loragen_edge_", edge)):
        assert [name for name in names if not name.startswith((prefix, "process_"))] == []
    both = {name for name in cloud if name.startswith("loragen_") and name.replace("_cloud_", "_edge_") in edge}
    assert "loragen_cloud_requests_total" in both
    for name in both:
        assert cloud[name] - {"protocol"} <= edge[name.replace("_cloud_", "_edge_")], name


def test_every_label_is_one_of_its_metric(root: Path) -> None:
    known = label_names(Metrics().registry) | label_names(Telemetry().registry)
    for expression in expressions(root):
        names, labels = names_and_labels(expression)
        assert labels - OF_THE_MONITOR <= set().union(*(known.get(name, set()) for name in names)), expression


def test_faults_are_the_codes_of_the_services_own_failures(root: Path) -> None:
    faults = {entry.code for entry in ERROR_CODES if entry.status >= 500} - NO_FAULTS
    found = [re.search(r'code=~"([^"]*)"', expression) for expression in expressions(root)]
    stated = [set(match[1].split("|")) for match in found if match]
    assert len(stated) == 2
    assert all(each == faults for each in stated)


def test_routes_are_those_of_the_service(root: Path) -> None:
    from cloud_service.access.scopes import RULES

    routes = {call.partition(" ")[2] or call for call in RULES}
    for expression in expressions(root):
        for stated in re.findall(r'route=~?"([^"]*)"', expression):
            assert set(stated.split("|")) <= routes, expression


def test_every_alert_has_a_severity_a_summary_and_its_line_in_the_documentation(root: Path) -> None:
    text = (root / "docs" / "operations.md").read_text()
    names = [rule["alert"] for rule in alerts(root)]
    assert len(names) == len(set(names))
    for rule in alerts(root):
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
    documented = [
        name for line in text.splitlines() if line.startswith("| `Lor") for name in line.split("|")[1].split()
    ]
    assert sorted(name.strip("`,") for name in documented) == sorted(names)


def test_dashboard_is_whole(root: Path) -> None:
    found = dashboard(root)
    panels = found["panels"]
    assert {"uid", "title", "schemaVersion", "templating", "time"} <= found.keys()
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_what_is_scraped_are_the_pods_of_both_services(root: Path) -> None:
    monitor = read(root, "monitor.yaml")["spec"]
    (expression,) = monitor["selector"]["matchExpressions"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    for path in ("cloud/deployment.yaml", "edge/daemon-set.yaml"):
        template = yaml.safe_load((root / "k8s" / "base" / path).read_text())["spec"]["template"]
        assert template["metadata"]["labels"][monitor["jobLabel"]] in expression["values"]
        ports = {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}
        assert endpoint["port"] in ports
    jobs = {job for text in expressions(root) for job in re.findall(r'job="([^"]*)"', text)}
    assert jobs == set(expression["values"])


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here")
def test_component_builds_on_the_base(root: Path, tmp_path: Path) -> None:
    names = {"resources": root / "k8s" / "base", "components": root / COMPONENT}
    kustomization = {field: [os.path.relpath(path, tmp_path)] for field, path in names.items()}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    built = subprocess.run(["kubectl", "kustomize", str(tmp_path)], capture_output=True, text=True, check=True).stdout
    kinds = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(built)}
    assert {"PodMonitor", "PrometheusRule", "Deployment", "DaemonSet"} <= kinds.keys()
    assert kinds["PrometheusRule"]["metadata"]["namespace"] == "loragen"


def _requests(**labels: str) -> str:
    return (
        f"loragen_cloud_requests_total{{{','.join(f'{name}={json.dumps(value)}' for name, value in labels.items())}}}"
    )


def _buckets(name: str, labels: str, good: int, slow: int) -> dict[str, str]:
    """So many good and slow ones a minute; slow ones are beyond the largest limit."""
    return {f'{name}{{{labels},le="0.5"}}': f"0+{good}x100", f'{name}{{{labels},le="+Inf"}}': f"0+{good + slow}x100"}


POLLS = _requests(route="/channels/{channel}", code="200")
READY = _requests(route="/health/ready", code="200", pod="a")
GENERATIONS = 'protocol="http",route="/generate-lora"'
GOOD = {
    'up{job="loragen-cloud",pod="a"}': "1x100",
    'up{job="loragen-edge",pod="d"}': "1x100",
    READY: "0+12x100",
    POLLS: "0+100x100",
    _requests(route="/generate-lora", code="200"): "0+100x100",
    _requests(route="/generate-lora", code="overloaded"): "0+50x100",
    _requests(route="/generate-lora", code="store_unavailable"): "0+1x100",
    **_buckets("loragen_cloud_request_seconds_bucket", GENERATIONS, 1_000, 1),
    **_buckets("loragen_cloud_request_seconds_bucket", 'route="/channels/{channel}"', 1_000, 1),
    'loragen_cloud_rejections_total{pod="a"}': "5x100",
    'loragen_cloud_channel_changes_total{action="publish"}': "0+1x100",
    'loragen_cloud_channel_changes_total{action="halt"}': "2x100",
    'loragen_cloud_signing_root_expires_timestamp_seconds{channel="kitchen"}': "100000000x100",
    'loragen_edge_update_attempts_total{step="poll",outcome="unchanged",pod="d"}': "0+1x100",
    'loragen_edge_update_attempts_total{step="merge",outcome="ok",pod="d"}': "0+1x100",
    'loragen_edge_requests_total{route="/v1/completions",status="200",pod="d"}': "0+100x100",
    'loragen_edge_requests_total{route="/v1/completions",status="404",pod="d"}': "0+100x100",
    **_buckets("loragen_edge_time_to_first_token_seconds_bucket", 'state="merged",pod="d"', 1_000, 1),
}
"""A hundred minutes in which nothing is wrong."""

BAD: dict[str, dict[str, str]] = {
    "LoragenCloudDown": {'up{job="loragen-cloud",pod="a"}': "1x50 0x50"},
    "LoragenStoreNotReady": {_requests(route="/health/ready", code="store_unavailable", pod="a"): "0x50 0+12x50"},
    "LoragenNotReady": {_requests(route="/health/ready", code="unavailable", pod="a"): "0x50 0+12x50"},
    "LoragenErrors": {_requests(route="/generate-lora", code="internal"): "0x50 0+50x50"},
    "LoragenGenerationsSlow": {
        'loragen_cloud_request_seconds_bucket{route="/generate-lora",le="10"}': "0+900x100",
        'loragen_cloud_request_seconds_bucket{route="/generate-lora",le="30"}': "0+1000x100",
        **_buckets("loragen_cloud_request_seconds_bucket", GENERATIONS, 0, 0),
    },
    "LoragenPollsSlow": _buckets("loragen_cloud_request_seconds_bucket", 'route="/channels/{channel}",pod="b"', 0, 100)
    | {'loragen_cloud_request_seconds_bucket{route="/channels/{channel}",pod="b",le="5"}': "0+100x100"},
    "LoragenQueueFull": {'loragen_cloud_rejections_total{pod="a"}': "0x50 0+1x50"},
    "LoragenRolloutHalted": {'loragen_cloud_channel_changes_total{action="halt"}': "0x80 1x20"},
    "LoragenSigningExpiresSoon": {
        'loragen_cloud_signing_root_expires_timestamp_seconds{channel="kitchen"}': f"{50 * 86_400}x100"
    },
    "LoragenSigningExpires": {
        'loragen_cloud_signing_root_expires_timestamp_seconds{channel="kitchen"}': f"{86_400}x100"
    },
    "LoragenSigningFails": {
        _requests(route="/channels/{channel}/metadata/{file}", code="signing_failed"): "0x50 0+1x50"
    },
    "LoragenDeviceDown": {'up{job="loragen-edge",pod="d"}': "1x50 0x50"},
    "LoragenUpdatesFail": {
        'loragen_edge_update_attempts_total{step="merge",outcome="disk_full",pod="d"}': "0x50 0+1x50"
    },
    "LoragenDeviceErrors": {
        'loragen_edge_requests_total{route="/v1/completions",status="500",pod="d"}': "0x50 0+50x50"
    },
    "LoragenDeviceSlow": {
        'loragen_edge_time_to_first_token_seconds_bucket{state="base",pod="e",le="10"}': "0+900x100",
        'loragen_edge_time_to_first_token_seconds_bucket{state="base",pod="e",le="30"}': "0+1000x100",
        'loragen_edge_time_to_first_token_seconds_bucket{state="base",pod="e",le="+Inf"}': "0+1000x100",
    },
}
"""By alert, what is different when it must fire."""


SILENT = {POLLS: "0+100x1500 150000+10x100"}
"""A day and more, at the end of which most devices say nothing any more."""

STEADY = {POLLS: "0+100x1600"}


def _case(series: dict[str, str], alert: str, count: int, minutes: int = 98) -> dict[str, Any]:
    """So many alerts of a name, or of any, fire after so many minutes."""
    matcher = f",alertname={json.dumps(alert)}" if alert else ""
    samples = [{"labels": "{}", "value": count}] if count else []
    expression = f'count(ALERTS{{alertstate="firing"{matcher}}})'
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": f"{minutes}m", "exp_samples": samples}],
    }


def test_every_alert_has_its_case(root: Path) -> None:
    assert BAD.keys() | {"LoragenDevicesSilent"} == {rule["alert"] for rule in alerts(root)}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here")
def test_alerts_fire_when_they_must_and_not_while_all_is_well(root: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(read(root, "rules.yaml")["spec"]))
    soon = [_case(GOOD, "", 0), *(_case(GOOD | series, name, 1) for name, series in BAD.items())]
    daily = [_case(series, "LoragenDevicesSilent", count, 1_590) for series, count in ((SILENT, 1), (STEADY, 0))]
    for name, interval, cases in (("soon.yaml", "1m", soon), ("daily.yaml", "15m", daily)):
        test = {"rule_files": ["rules.yaml"], "evaluation_interval": interval, "tests": cases}
        (tmp_path / name).write_text(yaml.safe_dump(test))
    # Queries of the dashboard are read as if they were rules.
    queries = [target["expr"].replace("$__rate_interval", "5m") for target in targets(root)]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    for command in (["check", "rules", "rules.yaml", "queries.yaml"], ["test", "rules", "soon.yaml", "daily.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
