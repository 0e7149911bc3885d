"""The dashboard by the schema of Grafana itself, from which its makers generate the classes of the Foundation SDK."""

import enum
import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

DASHBOARD = Path("k8s/components/observability/dashboard.yaml")
BUILT_IN = {"row", "stat", "timeseries", "table", "gauge", "bargauge", "heatmap", "text"}
"""Kinds of panels that every Grafana has."""


def read(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(yaml.safe_load((root / DASHBOARD).read_text())["data"]["loragen.json"])
    return found


def faults(found: dict[str, Any]) -> list[str]:
    """What the schema does not know, and values that are not what it says."""
    register_default_plugins()
    parsed = Dashboard.from_json(found)
    return [*_lost(found, json.loads(JSONEncoder().encode(parsed)), "dashboard"), *_misfits(parsed, "dashboard")]


def _lost(before: Any, after: Any, path: str) -> Iterator[str]:
    """What was not taken over: fields of other names."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from _lost(value, after[name], f"{path}.{name}") if name in after else [f"{path}.{name}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, pair in enumerate(zip(before, after, strict=True)):
            yield from _lost(*pair, f"{path}[{number}]")
    elif before != after:
        yield path


def _misfits(parsed: object, path: str) -> Iterator[str]:
    for name, hint in typing.get_type_hints(type(parsed)).items():
        value = getattr(parsed, name, None)
        if not _fits(value, hint):
            yield f"{path}.{name}: {value!r}"
        for number, each in enumerate(value if isinstance(value, list) else [value]):
            if type(each).__module__.startswith("grafana_foundation_sdk"):
                yield from _misfits(each, f"{path}.{name}[{number}]")


def _fits(value: object, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(_fits(each, arguments[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(each, arguments[1]) for each in value.values())
    if hint in (typing.Any, object):
        return True
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in [each.value for each in hint]
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is not int or not isinstance(value, bool))


def test_dashboard_is_what_grafana_reads(root: Path) -> None:
    found = read(root)
    assert faults(found) == []
    assert {panel["type"] for panel in found["panels"]} <= BUILT_IN


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"panls": []}, "dashboard.panls"),
        ({"editable": "yes"}, "dashboard.editable"),
        ({"graphTooltip": 7}, "dashboard.graph_tooltip"),
        ({"templating": {"list": [{"type": "datasouce", "name": "a"}]}}, "type_val"),
    ],
)
def test_dashboard_that_grafana_does_not_read_is_found(root: Path, change: dict[str, Any], place: str) -> None:
    assert any(place in fault for fault in faults(read(root) | change))


def test_panel_that_grafana_does_not_read_is_found(root: Path) -> None:
    found = read(root)
    panel = next(panel for panel in found["panels"] if panel["type"] == "timeseries")
    panel["gridPos"]["w"] = "12"
    panel["targets"][0]["exprr"] = "up"
    panel["fieldConfig"]["defaults"]["unitt"] = "s"
    assert [fault.rpartition(".")[2] for fault in sorted(faults(found))] == ["unitt", "w: '12'", "exprr"]
