"""Renders the kustomizations in plain Python, so that the manifests are tested where no kubectl is installed.

It knows what `k8s/` uses of kustomize (resources, components, namespace, images, JSON 6902 patches, patches that delete
a manifest) and refuses the rest by name; where kubectl is installed, a test holds it to what `kubectl kustomize` gives.
That is no dependency, because Debian's kubectl (1.20) knows no components, and PyPI's are binaries that third parties
packed again.
"""

import copy
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

Manifest = dict[str, Any]
KNOWN_FIELDS = {"apiVersion", "kind", "namespace", "resources", "components", "images", "patches"}
CLUSTER_KINDS = {"Namespace"}


@functools.cache
def parsed(text: str) -> list[Any]:
    """The documents of a YAML text: combinations of components read the same files again and again."""
    return list(yaml.load_all(text, yaml.CSafeLoader))


def render_directory(directory: Path) -> list[Manifest]:
    """All manifests of a kustomization."""
    (kustomization,) = parsed((directory / "kustomization.yaml").read_text())
    return apply_kustomization(kustomization, directory, [])


def apply_kustomization(kustomization: Manifest, directory: Path, manifests: list[Manifest]) -> list[Manifest]:
    """Adds the resources of a kustomization, then applies its components and transformations to everything."""
    unknown = kustomization.keys() - KNOWN_FIELDS
    assert not unknown, f"{directory}: teach tests/deploy/conftest.py about {sorted(unknown)}"
    for name in kustomization.get("resources", ()):
        path = directory / name
        manifests += render_directory(path) if path.is_dir() else copy.deepcopy(parsed(path.read_text()))
    for name in kustomization.get("components", ()):
        (component,) = parsed((directory / name / "kustomization.yaml").read_text())
        manifests = apply_kustomization(component, directory / name, manifests)
    for patch in kustomization.get("patches", ()):
        (content,) = parsed(patch["patch"] if "patch" in patch else (directory / patch["path"]).read_text())
        targets = [m for m in manifests if matches(m, patch["target"])]
        assert targets, f"{directory}: no {patch['target']} to patch"
        if isinstance(content, dict):
            assert content["$patch"] == "delete", f"{directory}: teach tests/deploy/conftest.py about merges"
            manifests = [m for m in manifests if m not in targets]
            continue
        for manifest in targets:
            for operation in content:
                apply_operation(manifest, operation)
    if namespace := kustomization.get("namespace"):
        for manifest in manifests:
            key = "name" if manifest["kind"] in CLUSTER_KINDS else "namespace"
            manifest["metadata"][key] = namespace
    for image in kustomization.get("images", ()):
        for container in containers(manifests):
            name, _, tag = container["image"].partition(":")
            if name == image["name"]:
                container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"
    return manifests


def matches(manifest: Manifest, target: dict[str, str]) -> bool:
    return manifest["kind"] == target["kind"] and manifest["metadata"]["name"] == target["name"]


def apply_operation(manifest: Manifest, operation: dict[str, Any]) -> None:
    """One add, replace or remove of RFC 6902 on an existing parent."""
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    node: Any = manifest
    for part in parents:
        node = node[int(part) if isinstance(node, list) else part]
    key = int(last) if isinstance(node, list) and last != "-" else last
    match operation["op"], node:
        case "remove", _:
            del node[key]
        case "add", list() if key == "-":
            node.append(copy.deepcopy(operation["value"]))
        case "replace", list():
            node[key] = copy.deepcopy(operation["value"])
        case "add" | "replace", dict() if operation["op"] == "add" or key in node:
            node[key] = copy.deepcopy(operation["value"])
        case _:
            raise AssertionError(operation)


def pod_specs(manifests: list[Manifest]) -> Iterator[Manifest]:
    return (m["spec"]["template"]["spec"] for m in manifests if "template" in m.get("spec", {}))


def containers(manifests: list[Manifest]) -> Iterator[Manifest]:
    return (c for spec in pod_specs(manifests) for c in (*spec.get("initContainers", ()), *spec["containers"]))


@pytest.fixture(scope="session")
def render(root: Path) -> Callable[[str], list[Manifest]]:
    """Renders a kustomization below `k8s/`."""
    cached = functools.cache(lambda name: render_directory(root / "k8s" / name))
    return lambda name: copy.deepcopy(cached(name))


@pytest.fixture(scope="session")
def combine(root: Path) -> Callable[[Iterable[str]], list[Manifest]]:
    """Renders the base with some components, as an overlay of a user would."""

    def render(names: Iterable[str]) -> list[Manifest]:
        kustomization = {"resources": ["base"], "components": [f"components/{name}" for name in names]}
        return apply_kustomization(kustomization, root / "k8s", [])

    return render
