"""The manifests: valid, hardened, and in step with the services' settings, ports and metrics."""

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from cloud_service.config import CloudSettings
from cloud_service.telemetry import Metrics
from edge_runtime.config import EdgeSettings

Manifest = dict[str, Any]
Render = Callable[[str], list[Manifest]]
Combine = Callable[[Iterable[str]], list[Manifest]]

KUSTOMIZATIONS = ("base", "overlays/local", "overlays/production")
COMPONENTS = sorted(path.name for path in (Path(__file__).parents[2] / "k8s" / "components").iterdir())
COMBINATIONS = [c for size in range(len(COMPONENTS) + 1) for c in itertools.combinations(COMPONENTS, size)]
every_kustomization = pytest.mark.parametrize("name", KUSTOMIZATIONS)


def workloads(manifests: list[Manifest]) -> list[Manifest]:
    return [m for m in manifests if "template" in m.get("spec", {})]


def pods(manifests: list[Manifest]) -> list[tuple[str, Manifest]]:
    return [(m["metadata"]["name"], m["spec"]["template"]["spec"]) for m in workloads(manifests)]


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name]
    return found


def by_identity(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(m["kind"], m["metadata"]["name"]): m for m in manifests}


def is_of_kubernetes(manifest: Manifest) -> bool:
    """Not of an operator: `test_operators.py` is for those."""
    group = manifest["apiVersion"].rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io")


def render_with_kubectl(directory: Path) -> list[Manifest]:
    command = ["kubectl", "kustomize", str(directory)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return list(yaml.load_all(text, yaml.CSafeLoader))


@every_kustomization
def test_every_manifest_is_valid_kubernetes(render: Render, name: str) -> None:
    manifests = render(name)
    assert manifests
    for manifest in manifests:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@every_kustomization
def test_kustomization_renders_what_kubectl_renders(render: Render, root: Path, name: str) -> None:
    """Where kubectl is missing, that every file is there and used is all that can be said."""
    manifests = render(name)
    if shutil.which("kubectl"):
        assert by_identity(render_with_kubectl(root / "k8s" / name)) == by_identity(manifests)
    assert len(by_identity(manifests)) == len(manifests)


def test_every_combination_of_components_is_valid_and_keeps_what_the_base_promises(
    combine: Combine, monkeypatch: pytest.MonkeyPatch
) -> None:
    valid: list[Manifest] = []
    for names in COMBINATIONS:
        manifests = combine(names)
        for manifest in manifests:
            if manifest not in valid and is_of_kubernetes(manifest):
                kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
                valid.append(manifest)
        assert len(by_identity(manifests)) == len(manifests), names
        assert {m["metadata"].get("namespace", "loragen") for m in manifests} == {"loragen"}, names
        verify_restricted(manifests)
        verify_references(manifests)
        with monkeypatch.context() as patch:
            verify_settings(manifests, patch)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl")
def test_every_combination_of_components_renders_what_kubectl_renders(
    root: Path, combine: Combine, tmp_path: Path
) -> None:
    k8s = Path(os.path.relpath(root / "k8s", tmp_path))
    for names in COMBINATIONS:
        kustomization = {"resources": [f"{k8s}/base"], "components": [f"{k8s}/components/{name}" for name in names]}
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        assert by_identity(render_with_kubectl(tmp_path)) == by_identity(combine(names)), names


def test_every_component_says_what_it_is_for(root: Path) -> None:
    for name in COMPONENTS:
        text = (root / "k8s" / "components" / name / "kustomization.yaml").read_text()
        assert text.startswith("# ")
        assert "kind: Component" in text


def test_every_file_of_the_base_is_used(root: Path) -> None:
    base = root / "k8s" / "base"
    listed = set(yaml.safe_load((base / "kustomization.yaml").read_text())["resources"])
    assert listed == {str(path.relative_to(base)) for path in base.rglob("*.yaml")} - {"kustomization.yaml"}


@every_kustomization
def test_pods_meet_pod_security_restricted_with_a_read_only_root(render: Render, name: str) -> None:
    verify_restricted(render(name))


def verify_restricted(manifests: list[Manifest]) -> None:
    for workload, pod in pods(manifests):
        assert pod["securityContext"]["runAsNonRoot"], workload
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, workload
        assert not pod["automountServiceAccountToken"], workload
        assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), workload
        allowed_volumes = {"name", "emptyDir", "configMap", "secret", "persistentVolumeClaim"}
        assert all(volume.keys() <= allowed_volumes for volume in pod.get("volumes", ())), workload
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, workload
            assert context["allowPrivilegeEscalation"] is False, workload
            assert context["capabilities"] == {"drop": ["ALL"]}, workload


@every_kustomization
def test_containers_have_probes_and_bounded_memory(render: Render, name: str) -> None:
    for workload, pod in pods(render(name)):
        for container in pod["containers"]:
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys(), workload
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), workload
            assert "memory" in resources["limits"], workload


@every_kustomization
def test_services_select_pods_and_name_their_ports(render: Render, name: str) -> None:
    manifests = render(name)
    templates = [m["spec"]["template"] for m in workloads(manifests)]
    for service in (m for m in manifests if m["kind"] == "Service"):
        selector = service["spec"]["selector"].items()
        chosen = [t for t in templates if selector <= t["metadata"]["labels"].items()]
        assert len(chosen) == 1, service["metadata"]["name"]
        ports = {p["name"] for c in chosen[0]["spec"]["containers"] for p in c["ports"]}
        assert {p["targetPort"] for p in service["spec"]["ports"]} <= ports


def test_everything_is_denied_unless_a_policy_of_the_pod_allows_it(render: Render) -> None:
    manifests = render("base")
    deny = find(manifests, "NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    selectors = [
        m["spec"]["podSelector"]["matchLabels"]
        for m in manifests
        if m["kind"] == "NetworkPolicy" and "ingress" in m["spec"]
    ]
    for workload in workloads(manifests):
        labels = workload["spec"]["template"]["metadata"]["labels"].items()
        assert any(selector.items() <= labels for selector in selectors), workload["metadata"]["name"]


def test_autoscaler_watches_the_queue_and_owns_the_number_of_replicas(render: Render) -> None:
    manifests = render("base")
    (metric,) = find(manifests, "HorizontalPodAutoscaler", "loragen-cloud")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] in {family.name for family in Metrics().registry.collect()}
    assert "replicas" not in find(manifests, "Deployment", "loragen-cloud")["spec"]


def test_grace_outlasts_drain_and_shutdown(render: Render) -> None:
    manifests = render("base")
    cloud = find(manifests, "ConfigMap", "loragen-cloud")["data"]
    drain = float(cloud["LORAGEN_CLOUD_DRAIN_DELAY_SECONDS"]) + float(cloud["LORAGEN_CLOUD_SHUTDOWN_TIMEOUT_SECONDS"])
    pod = find(manifests, "Deployment", "loragen-cloud")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > drain
    edge = find(manifests, "ConfigMap", "loragen-edge")["data"]
    pod = find(manifests, "DaemonSet", "loragen-edge")["spec"]["template"]["spec"]
    before = float(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > before + float(edge["LORAGEN_EDGE_SHUTDOWN_TIMEOUT_SECONDS"])


def test_gpu_request_equals_its_limit(render: Render) -> None:
    (container,) = find(render("overlays/production"), "Deployment", "loragen-cloud")["spec"]["template"]["spec"][
        "containers"
    ]
    resources = container["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "1"


def verify_references(manifests: list[Manifest]) -> None:
    """What a pod mounts or scales is there, unless it is optional, or is made by a user or by cert-manager."""
    known = by_identity(manifests)
    secrets = {m["spec"]["secretName"] for m in manifests if m["kind"] == "Certificate"}
    for workload, pod in pods(manifests):
        volumes = {volume["name"]: volume for volume in pod.get("volumes", ())}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", ())} <= volumes.keys() | {"data"}, workload
        for volume in volumes.values():
            secret = volume.get("secret", {"optional": True})
            assert secret.get("optional") or secret["secretName"] in secrets, workload
    for scaler in (m for m in manifests if m["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")):
        target = scaler["spec"]["scaleTargetRef"]
        assert (target.get("kind", "Deployment"), target["name"]) in known
    assert sum(m["kind"] in ("HorizontalPodAutoscaler", "ScaledObject") for m in manifests) == 1


def test_own_redis_replaces_the_one_of_the_base_and_needs_its_address(combine: Combine) -> None:
    manifests = combine(["external-redis"])
    assert not [m for m in manifests if "valkey" in m["metadata"]["name"]]
    assert "LORAGEN_CLOUD_STORE_URL" not in find(manifests, "ConfigMap", "loragen-cloud")["data"]
    (container,) = find(manifests, "Deployment", "loragen-cloud")["spec"]["template"]["spec"]["containers"]
    assert {"secretRef": {"name": "loragen-cloud", "optional": False}} in container["envFrom"]
    (rule,) = find(manifests, "NetworkPolicy", "cloud")["spec"]["egress"]
    assert rule["to"] == [{"ipBlock": {"cidr": "10.0.0.0/8"}}]


def test_bucket_for_bundles_is_reached_and_its_budgets_are_larger_than_those_of_the_store(combine: Combine) -> None:
    before, after = combine([]), combine(["s3"])
    data = find(after, "ConfigMap", "loragen-cloud")["data"]
    for name in ("bundle_budget_bytes", "import_budget_bytes"):
        assert int(data[f"LORAGEN_CLOUD_{name.upper()}"]) > CloudSettings.model_fields[name].default
    allowed = find(before, "NetworkPolicy", "cloud")["spec"]["egress"]
    *kept, added = find(after, "NetworkPolicy", "cloud")["spec"]["egress"]
    assert kept == allowed
    assert added == {"ports": [{"protocol": "TCP", "port": 443}]}
    (container,) = find(after, "Deployment", "loragen-cloud")["spec"]["template"]["spec"]["containers"]
    assert {"secretRef": {"name": "loragen-cloud", "optional": True}} in container["envFrom"]


def test_keda_scales_as_the_autoscaler_of_the_base_does(combine: Combine) -> None:
    before = find(combine([]), "HorizontalPodAutoscaler", "loragen-cloud")["spec"]
    after = find(combine(["keda"]), "ScaledObject", "loragen-cloud")["spec"]
    assert (after["minReplicaCount"], after["maxReplicaCount"]) == (before["minReplicas"], before["maxReplicas"])
    assert after["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == before["behavior"]
    (metric,), (trigger,) = before["metrics"], after["triggers"]
    assert metric["pods"]["metric"]["name"] in trigger["metadata"]["query"]
    assert trigger["metadata"]["threshold"] == metric["pods"]["target"]["averageValue"]


def test_certificate_has_the_name_that_devices_use_and_its_key_stays_with_the_cloud(combine: Combine) -> None:
    manifests = combine(["cert-manager"])
    url = find(manifests, "ConfigMap", "loragen-edge")["data"]["LORAGEN_EDGE_CLOUD_URL"]
    names = find(manifests, "Certificate", "loragen-cloud")["spec"]["dnsNames"]
    assert url.removeprefix("https://").removesuffix(":8080") in names
    volumes = find(manifests, "DaemonSet", "loragen-edge")["spec"]["template"]["spec"]["volumes"]
    (secret,) = [volume["secret"] for volume in volumes if "secret" in volume]
    assert [item["key"] for item in secret["items"]] == ["ca.crt"]
    (cloud,) = find(manifests, "Deployment", "loragen-cloud")["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert cloud[probe]["httpGet"]["scheme"] == "HTTPS"


def test_pods_that_speak_tls_are_scraped_by_it(combine: Combine) -> None:
    """By a mark on the pod, so that neither component asks for the other."""
    manifests = combine(["cert-manager", "observability"])
    (endpoint,) = find(manifests, "PodMonitor", "loragen")["spec"]["podMetricsEndpoints"]
    (rule,) = endpoint["relabelings"]
    (source,) = rule["sourceLabels"]
    schemes = {}
    for workload in workloads(manifests):
        marks = workload["spec"]["template"]["metadata"].get("annotations", {})
        # Prometheus names the label so, with an underscore for every other character.
        named = {"__meta_kubernetes_pod_annotation_" + re.sub(r"\W", "_", key): value for key, value in marks.items()}
        found = re.fullmatch(rule["regex"], named.get(source, ""))
        schemes[workload["metadata"]["name"]] = found[1] if found else "http"
    assert schemes == {"loragen-cloud": "https", "loragen-edge": "http", "valkey": "http"}
    assert rule["targetLabel"] == "__scheme__"


@every_kustomization
def test_variables_are_settings_with_values_they_accept(
    render: Render, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify_settings(render(name), monkeypatch)


def verify_settings(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    data: dict[str, str] = {}
    for manifest in manifests:
        if manifest["kind"] == "ConfigMap" and manifest["metadata"]["name"] in ("loragen-cloud", "loragen-edge"):
            data |= manifest["data"]
    for _, pod in pods(manifests):
        data |= {entry["name"]: "name-of-a-node" for c in pod["containers"] for entry in c.get("env", ())}
    assert all(key.startswith("LORAGEN_") for key in data)
    for key, value in data.items():
        monkeypatch.setenv(key, value)
    CloudSettings.load()
    EdgeSettings.load()
