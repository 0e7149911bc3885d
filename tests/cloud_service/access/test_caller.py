"""What follows from who calls."""

import pytest

from cloud_service.access.caller import (
    Caller,
    calling,
    current_caller,
    verify_channel,
    verify_device,
    verify_publishing,
    verify_rule,
)
from cloud_service.access.scopes import Rule, Scope
from cloud_service.errors import ForbiddenError, NotFoundError


def _caller(*scopes: Scope, tenant: str = "", device: str = "") -> Caller:
    return Caller("id", "name", tenant, frozenset(scopes), device)


def test_without_a_caller_the_service_may_do_everything() -> None:
    verify_publishing("kitchen")
    verify_device("any")
    assert current_caller().key_name == "service"


def test_caller_is_that_of_the_block() -> None:
    with calling(_caller(Scope.READ)) as _:
        assert current_caller().key_id == "id"
    assert current_caller().key_id == ""


def test_missing_scope_is_named() -> None:
    with pytest.raises(ForbiddenError, match="publish") as caught:
        verify_rule(_caller(Scope.READ, Scope.GENERATE), Rule((Scope.PUBLISH,)))
    assert 'scope="publish"' in caught.value.headers["www-authenticate"]
    verify_rule(_caller(Scope.ADMIN), Rule((Scope.PUBLISH,)))
    verify_rule(_caller(Scope.DEVICE), Rule((Scope.READ, Scope.DEVICE)))


def test_what_tells_of_all_tenants_is_for_the_operator() -> None:
    rule = Rule((Scope.READ,), operator_only=True)
    verify_rule(_caller(Scope.READ), rule)
    with pytest.raises(ForbiddenError):
        verify_rule(_caller(Scope.ADMIN, tenant="acme"), rule)


@pytest.mark.parametrize("channel", ["kitchen", "acme", "acmecorp.kitchen", "other.kitchen", "acme-x"])
def test_channel_of_others_is_not_there_for_a_tenant(channel: str) -> None:
    with calling(_caller(Scope.PUBLISH, tenant="acme")):
        verify_channel("acme.kitchen")
        for verify in (verify_channel, verify_publishing):
            with pytest.raises(NotFoundError):
                verify(channel)
    with calling(_caller(Scope.PUBLISH)):
        verify_channel(channel)


def test_publishing_needs_its_scope() -> None:
    with calling(_caller(Scope.GENERATE)), pytest.raises(ForbiddenError):
        verify_publishing("kitchen")


def test_device_speaks_for_itself_only() -> None:
    with calling(_caller(Scope.DEVICE, device="dev-1")):
        verify_device("dev-1")
        with pytest.raises(ForbiddenError, match="dev-1") as caught:
            verify_device("dev-2")
        assert caught.value.code == "wrong_device"
    with calling(_caller(Scope.DEVICE, device="*")):
        verify_device("dev-2")
