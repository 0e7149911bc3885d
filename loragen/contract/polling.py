"""Who polls: headers with which a device names itself, its labels and the newest channel version that it has seen.

While a rollout runs, these headers decide which document the cloud sends to a device. Otherwise they are not read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from loragen.contract.errors import FormatError, LimitError
from loragen.contract.fields import parse_count, verify_count
from loragen.contract.limits import MAX_CHANNEL_VERSION, MAX_LABELS
from loragen.contract.names import verify_device_name, verify_name

DEVICE_HEADER = "x-loragen-device"
LABELS_HEADER = "x-loragen-labels"
VERSION_HEADER = "x-loragen-version"

POLL_HEADERS = (DEVICE_HEADER, LABELS_HEADER, VERSION_HEADER)


@dataclass(frozen=True, slots=True)
class PollingDevice:
    """Who polls.

    Attributes:
        device_id: Empty when the device does not say.
        labels: What its owner says of it, such as `{"ring": "canary"}`.
        version: The newest version of the channel that it has seen; 0 for none.

    Raises:
        ContractError: A malformed name, too many labels, or a version out of its range.
    """

    device_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    version: int = 0

    def __post_init__(self) -> None:
        if self.device_id:
            verify_device_name(self.device_id)
        verify_labels(self.labels)
        verify_count(self.version, VERSION_HEADER, 0, MAX_CHANNEL_VERSION)


def verify_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Return labels when each name and value is a name, and there are not too many.

    Raises:
        ContractError: They are not.
    """
    if len(labels) > MAX_LABELS:
        raise LimitError(f"labels: expected at most {MAX_LABELS}, found {len(labels)}")
    for text in (*labels.keys(), *labels.values()):
        verify_name(text)
    return labels


def format_labels(labels: Mapping[str, str]) -> str:
    """Labels as one text: `ring=canary,site=berlin`."""
    return ",".join(f"{name}={labels[name]}" for name in sorted(labels))


def parse_labels(text: str) -> dict[str, str]:
    """The labels that `format_labels` wrote; blanks around them do not count.

    Raises:
        ContractError: Another text.
    """
    labels: dict[str, str] = {}
    for part in text.split(",", MAX_LABELS + 1) if text.strip(" ") else ():
        name, equals, value = (piece.strip(" ") for piece in part.partition("="))
        if not equals or name in labels:
            raise FormatError(
                f"labels: expected NAME=VALUE with commas between them, each name once, found {part[:80]!a}"
            )
        labels[name] = value
    return dict(verify_labels(labels))


def poll_headers(device: PollingDevice) -> dict[str, str]:
    """The headers of a poll."""
    headers = {DEVICE_HEADER: device.device_id, LABELS_HEADER: format_labels(device.labels)}
    return {name: value for name, value in headers.items() if value} | {VERSION_HEADER: str(device.version)}


def parse_poll(headers: Mapping[str, str]) -> PollingDevice:
    """Who polls, from headers with names in lower case or of any case.

    Raises:
        ContractError: A header is malformed.
    """
    return PollingDevice(
        headers.get(DEVICE_HEADER, ""),
        parse_labels(headers.get(LABELS_HEADER, "")),
        parse_count(headers.get(VERSION_HEADER, "0"), VERSION_HEADER),
    )
