"""What the manifests ask of operators has only fields and values that their kinds have."""

import copy
import importlib
from collections.abc import Callable, Iterable
from typing import Any

import pydantic
import pytest

from tests.deploy.test_kubernetes import COMPONENTS, find, is_of_kubernetes

Manifest = dict[str, Any]

# Classes made from the operators' own definitions.
MODULES = {
    "cert-manager.io/v1": "cloudcoil.models.cert_manager.v1",
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}
FAULTS = [
    ("ScaledObject", "loragen-cloud", {"spec": {"maxReplicas": 8}}),
    ("ScaledObject", "loragen-cloud", {"spec": {"maxReplicaCount": "many"}}),
    ("PodMonitor", "loragen", {"spec": {"selector": None}}),
    ("Certificate", "loragen-cloud", {"spec": {"usages": ["serving"]}}),
]


def verify_kind(manifest: Manifest) -> None:
    """Raises for a value that the kind refuses, and for a field that it does not have, which the class leaves out."""
    kind = getattr(importlib.import_module(MODULES[manifest["apiVersion"]]), manifest["kind"])
    read = kind.model_validate(manifest).model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert read == manifest


@pytest.fixture(scope="module")
def manifests(combine: Callable[[Iterable[str]], list[Manifest]]) -> list[Manifest]:
    """Those of operators, of all components together."""
    return [manifest for manifest in combine(COMPONENTS) if not is_of_kubernetes(manifest)]


@pytest.mark.slow
def test_manifests_of_operators_are_of_their_kinds(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        verify_kind(manifest)
    assert {manifest["apiVersion"] for manifest in manifests} == MODULES.keys()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "fault"), FAULTS)
def test_fault_in_a_manifest_of_an_operator_is_found(
    manifests: list[Manifest], kind: str, name: str, fault: Manifest
) -> None:
    manifest = copy.deepcopy(find(manifests, kind, name))
    manifest["spec"] |= fault["spec"]
    with pytest.raises((pydantic.ValidationError, AssertionError)):
        verify_kind(manifest)
