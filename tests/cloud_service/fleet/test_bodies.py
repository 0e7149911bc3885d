"""Bodies that change channels and rollouts: what does not go together is refused, and the rest becomes a request."""

from typing import Any

import pytest
from pydantic import ValidationError

from cloud_service.fleet.bodies import RolloutBody, RolloutChangeBody
from cloud_service.fleet.rollout import Group, HaltRule

BUNDLE = "a" * 64


def test_rollout_of_a_bundle_becomes_a_request_in_microseconds() -> None:
    fields = {"name": "mail", "bundle_id": BUNDLE, "percent": 5, "labels": {"ring": "canary"}}
    request = RolloutBody(**fields, starts_at="1970-01-01T01:00:00.25+01:00").to_request()  # type: ignore[arg-type]
    assert (request.name, request.bundle_id, request.version) == ("mail", BUNDLE, 0)
    assert request.group == Group(5, {"ring": "canary"})
    assert request.halt == HaltRule(5, 10, 25)
    assert request.starts_at == 250_000


def test_rollout_of_a_version_starts_now_on_all_devices() -> None:
    request = RolloutBody(version=3).to_request()
    assert (request.name, request.bundle_id, request.version, request.starts_at) == ("", "", 3, 0)
    assert request.group == Group(100, {})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "mail"},
        {"bundle_id": BUNDLE},
        {"name": "mail", "bundle_id": BUNDLE, "version": 3},
        {"name": "mail", "version": 3},
        {"version": 3, "percent": 0},
        {"version": 3, "percent": "nan"},
        {"version": 3, "starts_at": "2030-01-01T00:00:00"},
        {"version": 3, "starts_at": 1_900_000_000},
        {"version": 3, "starts_at": "1969-12-31T23:59:59Z"},
        {"version": 3, "starts_at": "9999-12-31T23:59:59-23:59"},
        {"version": 3, "starts_at": "0001-01-01T00:00:00+23:59"},
        {"version": True},
        {"version": "3"},
        {"version": 3, "percent": True},
        {"version": 3, "percent": "5"},
        {"version": 3, "halt_min_devices": True},
    ],
)
def test_rollout_that_is_half_said_or_contradicts_itself_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RolloutBody(**fields)


def test_change_is_a_state_or_more_devices() -> None:
    assert RolloutChangeBody(state="paused").to_group() is None
    assert RolloutChangeBody(percent=50, labels={"ring": "all"}).to_group() == Group(50, {"ring": "all"})
    for fields in ({}, {"state": "paused", "percent": 50}, {"state": "paused", "labels": {"ring": "all"}}):
        with pytest.raises(ValidationError, match="expected a state, or a percent"):
            RolloutChangeBody(**fields)  # type: ignore[arg-type]
