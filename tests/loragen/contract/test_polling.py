"""Headers of a poll say who polls, and nothing else passes."""

import pytest

from loragen.contract.errors import ContractError
from loragen.contract.polling import PollingDevice, format_labels, parse_labels, parse_poll, poll_headers


@pytest.mark.parametrize(
    "device", [PollingDevice(), PollingDevice("node-1.example", {"site": "berlin", "ring": "canary"}, 2**53 - 1)]
)
def test_headers_are_read_back(device: PollingDevice) -> None:
    headers = poll_headers(device)
    assert parse_poll(headers) == device
    assert all(text.isascii() and text.isprintable() and text for text in headers.values())


def test_labels_have_one_text() -> None:
    assert format_labels({"site": "berlin", "ring": "canary"}) == "ring=canary,site=berlin"
    assert parse_labels(" site = berlin, ring=canary ") == {"site": "berlin", "ring": "canary"}
    assert parse_labels("") == parse_labels(" ") == {}


@pytest.mark.parametrize(
    "text",
    [
        *("ring", "ring=", "=canary", "ring=a,", ",", "ring=a,ring=b", "Ring=a", "ring=a=b", "ring=ü", "a=b\n,c=d\r"),
        *("a=" + "b" * 65, ",".join(f"a{n}=b" for n in range(17)), "a=.."),
    ],
)
def test_text_that_is_no_labels_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        parse_labels(text)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-loragen-device": "../x"},
        {"x-loragen-labels": "x"},
        {"x-loragen-version": "-1"},
        {"x-loragen-version": "one"},
        {"x-loragen-version": str(2**53)},
    ],
)
def test_header_that_is_none_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ContractError):
        parse_poll(headers)
