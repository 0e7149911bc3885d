"""Helper: what the HTTP interface sees of a device, without one."""

from edge_runtime.telemetry import CompletionRecord, Telemetry
from loragen.contract.names import BASE_NAME
from loragen.device_answers import DeviceStatus, ServedAnswer, ServedModel

BUNDLE = "ab" * 32


class FakeDevice:
    """A device that serves what the table has."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.entries = [
            ServedModel("org/Tiny-Edge", "base", resident=True, answer=ServedAnswer("text")),
            ServedModel(
                "router",
                "merged",
                BUNDLE,
                merge_seconds=0.5,
                retained_delta=0.98,
                retained_delta_mean=0.99,
                resident=True,
                answer=ServedAnswer("choice", ("get_weather", "none")),
            ),
            ServedModel("late", "pending", message="on its way"),
        ]

    def slot_name(self, model: str) -> str:
        return BASE_NAME if model in (BASE_NAME, "org/Tiny-Edge") else model

    def models(self) -> list[ServedModel]:
        return self.entries

    def not_ready_reason(self) -> str | None:
        return self.reason

    def failures(self, count: int) -> list[dict[str, str]]:
        return [{"at": "2026-11-29", "step": "fetch", "name": "late", "outcome": "digest_mismatch"}][:count]

    def status(self) -> DeviceStatus:
        return DeviceStatus(
            "dev", "0", "tiny", "Q4_K", True, "default", edge_model_digest="cd" * 32, models=tuple(self.entries)
        )


class RecordingTelemetry(Telemetry):
    """Keeps the records of requests."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[CompletionRecord] = []

    def request_finished(self, record: CompletionRecord) -> None:
        super().request_finished(record)
        self.records.append(record)
