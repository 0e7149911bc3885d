"""The clients of the cloud have a method for each of its calls over HTTP, and both have the same."""

import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors.numpy import save

from cloud_service.access.scopes import RULES
from loragen import AsyncCloudClient, CloudClient
from loragen.client import cloud_calls, fleet_calls, job_calls, key_calls
from loragen.client.call import ApiCall
from loragen.contract.peft_adapter import PeftAdapter

FOR_OTHERS = {
    "GET /health/live": "for whoever restarts a replica",
    "GET /health/ready": "`readiness`",
    "GET /errors": "for people",
    "GET /metrics": "for Prometheus",
    "GET /docs": "for people",
    "GET /docs/oauth2-redirect": "for people",
    "GET /openapi.json": "for generators of clients",
    "GET /channels/{channel}/metadata/{file}": "for devices",
    "GET /channels/{channel}/rollouts/{version}": "a channel has one, which `rollouts` gives",
}
ARGUMENTS: dict[str, Any] = {
    "adapter": PeftAdapter(b'{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"]}', save({})),
    "path": Path("nowhere/bank"),
    "refine": {},
    "scopes": ["read"],
    "version": 1,
    "old": 1,
    "new": 2,
}
"""By the name of a parameter; every other takes a text."""


def _calls(module: ModuleType) -> dict[str, ApiCall[Any]]:
    """One of each, by the name of its method."""
    made = {}
    for name, build in inspect.getmembers(module, inspect.isfunction):
        signature = inspect.signature(build)
        if name.startswith("_") or build.__module__ != module.__name__ or "ApiCall" not in str(signature):
            continue
        required = {each for each, parameter in signature.parameters.items() if parameter.default is parameter.empty}
        made[name] = build(**{each: ARGUMENTS.get(each, "x") for each in required})
    return made


def _rule(call: ApiCall[Any]) -> str:
    path = call.path.partition("?")[0]
    for rule in RULES:
        method, _, template = rule.partition(" ")
        if method == call.method and re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            return rule
    raise AssertionError(f"the service knows no {call}")


CALLS = {
    name: call for module in (cloud_calls, fleet_calls, job_calls, key_calls) for name, call in _calls(module).items()
}


def test_each_call_of_the_service_has_a_method() -> None:
    covered = {_rule(call) for call in CALLS.values()}
    over_http = {rule for rule in RULES if not rule.startswith("/") and "/console" not in rule}
    assert over_http - covered == FOR_OTHERS.keys()


def test_both_clients_have_each_method() -> None:
    for client in (CloudClient, AsyncCloudClient):
        assert {name for name in CALLS if not hasattr(client, name)} == set()
