"""What a client reads of a device's answers, also of a later device's."""

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from loragen.device_answers import ServedModel


def parse(**fields: object) -> ServedModel:
    return TypeAdapter(ServedModel).validate_json(json.dumps({"id": "router", "state": "merged"} | fields))


def test_fields_and_states_of_a_later_device_are_taken() -> None:
    assert parse(later=1) == ServedModel("router", "merged")
    assert str(parse(state="later").state) == "later"


@pytest.mark.parametrize("fields", [{"state": 3}, {"id": None}, {"merge_seconds": "long"}])
def test_value_of_another_type_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        parse(**fields)
