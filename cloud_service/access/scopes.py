"""Rules: what a key must be good for, for each route over HTTP and each method over gRPC. No I/O.

This table is the only place that says so. A call that it does not name needs `admin`, so one that was forgotten is
closed and not open; a test finds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Scope(StrEnum):
    """What a key is good for; `admin` is good for everything."""

    GENERATE = "generate"
    READ = "read"
    PUBLISH = "publish"
    DEVICE = "device"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a call needs.

    Attributes:
        scopes: One of these is enough; none for a call that needs no key.
        operator_only: Whether keys of tenants are refused, because the answer tells of all tenants.
    """

    scopes: tuple[Scope, ...]
    operator_only: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the call needs no key."""
        return not self.scopes


OPEN = Rule(())
_GENERATE = Rule((Scope.GENERATE,))
_READ = Rule((Scope.READ,))
_PUBLISH = Rule((Scope.PUBLISH,))
_DEVICE = Rule((Scope.DEVICE,))
_FOLLOW = Rule((Scope.READ, Scope.DEVICE))
_ADMIN = Rule((Scope.ADMIN,))
# Whoever may start a job may see how far it is, and what came of it.
_READ_JOBS = Rule((Scope.READ, Scope.GENERATE))
# Of no use to a device; what it asks for is counted for its tenant.
_OWN_USAGE = Rule((Scope.READ, Scope.GENERATE, Scope.PUBLISH))
_METRICS = Rule((Scope.READ,), operator_only=True)

SIGN_IN_CALLS = (
    "GET /console/sign-in",
    "POST /console/sign-in",
    "POST /console/sign-out",
    "GET /console/files/{name}",
)
"""How a person shows a key, and what these pages are made of."""

METRICS_CALLS = ("GET /metrics",)
DOCS_CALLS = ("GET /docs", "GET /docs/oauth2-redirect", "GET /openapi.json")

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "GET /health/live": OPEN,
        "GET /health/ready": OPEN,
        "GET /errors": OPEN,
        **dict.fromkeys(METRICS_CALLS, _METRICS),
        **dict.fromkeys(DOCS_CALLS, _READ),
        "POST /generate-lora": _GENERATE,
        "POST /bundles": _PUBLISH,
        "GET /bundles/{bundle_id}": _FOLLOW,
        "DELETE /bundles/{bundle_id}": _PUBLISH,
        "GET /recipes/{recipe_id}": _FOLLOW,
        "DELETE /recipes/{recipe_id}": _PUBLISH,
        "GET /generators": _FOLLOW,
        "GET /generators/{generator_id}/bank": _FOLLOW,
        "GET /channels/{channel}": _FOLLOW,
        "GET /channels/{channel}/metadata/{file}": _FOLLOW,
        "PUT /channels/{channel}/specializations/{name}": _PUBLISH,
        "DELETE /channels/{channel}/specializations/{name}": _PUBLISH,
        "GET /channels": _READ,
        "DELETE /channels/{channel}": _PUBLISH,
        "GET /channels/{channel}/versions": _READ,
        "GET /channels/{channel}/versions/{version}": _READ,
        "GET /channels/{channel}/diff": _READ,
        "GET /channels/{channel}/events": _READ,
        "POST /channels/{channel}/rollback": _PUBLISH,
        "GET /channels/{channel}/rollouts": _READ,
        "POST /channels/{channel}/rollouts": _PUBLISH,
        "GET /channels/{channel}/rollouts/{version}": _READ,
        "PATCH /channels/{channel}/rollouts/{version}": _PUBLISH,
        "GET /devices": _READ,
        "DELETE /channels/{channel}/devices/{device_id}": _PUBLISH,
        **dict.fromkeys(SIGN_IN_CALLS, OPEN),
        "GET /console": _READ,
        "POST /console": _PUBLISH,
        "GET /console/channels/{channel}": _READ,
        "POST /console/channels/{channel}": _PUBLISH,
        "GET /console/channels/{channel}/diff": _READ,
        "GET /console/devices": _READ,
        "GET /console/generate": _GENERATE,
        "POST /console/generate": _GENERATE,
        "GET /console/recipes/{recipe_id}/gates.png": _READ_JOBS,
        "GET /console/recipes/{recipe_id}": _READ_JOBS,
        "GET /console/bundles/{bundle_id}": _READ_JOBS,
        "POST /console/bundles": _PUBLISH,
        "GET /console/jobs": _READ_JOBS,
        "GET /console/jobs/{job_id}": _READ_JOBS,
        "POST /console/jobs/{job_id}": _GENERATE,
        "GET /console/keys": _ADMIN,
        "POST /console/keys": _ADMIN,
        "POST /console/keys/{key_id}": _ADMIN,
        "GET /console/audit": _ADMIN,
        "GET /jobs": _READ_JOBS,
        "GET /jobs/{job_id}": _READ_JOBS,
        "DELETE /jobs/{job_id}": _GENERATE,
        "GET /keys": _ADMIN,
        "POST /keys": _ADMIN,
        "POST /keys/{key_id}/rotate": _ADMIN,
        "DELETE /keys/{key_id}": _ADMIN,
        "GET /audit": _ADMIN,
        "GET /usage": _OWN_USAGE,
        "/loragen.v1.Generator/GenerateLora": _GENERATE,
        "/loragen.v1.Channels/Watch": _FOLLOW,
        "/loragen.v1.Channels/ReportStatus": _DEVICE,
    }
)
"""By `METHOD /path/{template}` over HTTP, and by the method's name over gRPC. HEAD needs what GET needs."""

_UNDECLARED = _ADMIN


def rule_of(call: str, open_calls: frozenset[str] = frozenset()) -> Rule:
    """What a call needs; nothing when it is one of `open_calls`."""
    if call in open_calls:
        return OPEN
    return RULES.get(call, _UNDECLARED)
