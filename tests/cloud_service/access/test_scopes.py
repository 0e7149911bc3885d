"""What each call needs is declared, for every route and every method."""

import re

from cloud_service.access.scopes import OPEN, RULES, SIGN_IN_CALLS, Scope, rule_of
from cloud_service.bootstrap import Cloud
from loragen.contract.stubs import loragen_pb2


def _routes(cloud: Cloud) -> set[str]:
    return {
        f"{method} {route.path}"
        for routes in cloud.app.state.routes.values()
        for route in routes
        for method in route.methods
        if method not in ("HEAD", "OPTIONS")
    }


def _methods() -> set[str]:
    return {
        f"/{service.full_name}/{method.name}"
        for service in loragen_pb2.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


async def test_every_route_and_method_is_declared_and_nothing_else(cloud: Cloud) -> None:
    assert set(RULES) == _routes(cloud) | _methods()


def test_only_health_errors_and_signing_in_need_no_key() -> None:
    health = {"GET /health/live", "GET /health/ready"}
    assert {call for call, rule in RULES.items() if rule.is_open} == health | {"GET /errors"} | set(SIGN_IN_CALLS)


def test_whatever_changes_something_needs_more_than_to_read() -> None:
    for call, rule in RULES.items():
        if re.match(r"(POST|PUT|PATCH|DELETE) ", call):
            assert Scope.READ not in rule.scopes, call
            assert Scope.DEVICE not in rule.scopes, call


def test_call_that_was_forgotten_is_closed() -> None:
    assert rule_of("GET /new").scopes == (Scope.ADMIN,)
    assert rule_of("GET /new", frozenset({"GET /new"})) == OPEN
