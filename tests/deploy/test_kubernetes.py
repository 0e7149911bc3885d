"""The manifests: valid, hardened, and in step with the services' settings, ports and metrics."""

import shutil
import subprocess
from collections.abc import Callable
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

KUSTOMIZATIONS = ("base", "overlays/local", "overlays/production")
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
    kubectl = shutil.which("kubectl")
    if kubectl:
        command = [kubectl, "kustomize", str(root / "k8s" / name)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert by_identity(list(yaml.safe_load_all(text))) == by_identity(manifests)
    assert len(by_identity(manifests)) == len(manifests)


def test_every_file_of_the_base_is_used(root: Path) -> None:
    base = root / "k8s" / "base"
    listed = set(yaml.safe_load((base / "kustomization.yaml").read_text())["resources"])
    assert listed == {str(path.relative_to(base)) for path in base.rglob("*.yaml")} - {"kustomization.yaml"}


@every_kustomization
def test_pods_meet_pod_security_restricted_with_a_read_only_root(render: Render, name: str) -> None:
    for workload, pod in pods(render(name)):
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


@every_kustomization
def test_variables_are_settings_with_values_they_accept(
    render: Render, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data: dict[str, str] = {}
    for manifest in render(name):
        if manifest["kind"] == "ConfigMap":
            data |= manifest["data"]
    for _, pod in pods(render(name)):
        data |= {entry["name"]: "name-of-a-node" for c in pod["containers"] for entry in c.get("env", ())}
    assert all(key.startswith("LORAGEN_") for key in data)
    for key, value in data.items():
        monkeypatch.setenv(key, value)
    CloudSettings.load()
    EdgeSettings.load()
