"""The port through which the HTTP interface sees the device. `edge_runtime.device` implements it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from loragen.device_answers import DeviceStatus, ServedModel


class DeviceView(Protocol):
    """What serving needs to know of the device beside its slots."""

    def slot_name(self, model: str) -> str:
        """The slot that a request for `model` means."""
        ...

    def models(self) -> Sequence[ServedModel]:
        """The base model, then all specializations by name."""
        ...

    def not_ready_reason(self) -> str | None:
        """Why no traffic should be sent here; None when it should."""
        ...

    def status(self) -> DeviceStatus:
        """The device's state, for `/status` and for the cloud."""
        ...

    def failures(self, count: int) -> Sequence[Mapping[str, Any]]:
        """The last attempts to change what serves that failed, the newest last; blocking."""
        ...
