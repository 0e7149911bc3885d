"""Settings of the edge runtime: environment variables with the prefix `LORAGEN_EDGE_`, read once at the start.

Values that cannot work stop the start with one line for each. Nothing here touches the disk or the network.
"""

import os
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, HttpUrl, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from edge_runtime.errors import ConfigurationError
from loragen.contract.errors import ContractError
from loragen.contract.names import verify_device_name, verify_digest, verify_name

TypeName = Literal["Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "F16"]
"""Quantizations that a slot can have; what each does is `edge_runtime.merge`."""


class EdgeSettings(BaseSettings):
    """What a device is told. Immutable."""

    model_config = SettingsConfigDict(env_prefix="LORAGEN_EDGE_", frozen=True, extra="ignore")

    cloud_url: Annotated[
        HttpUrl | None, Field(description="Cloud service to follow; without it the device serves what it has.")
    ] = None
    cloud_grpc: Annotated[
        str, Field(description="host:port of the cloud's gRPC, to be told of changes and to report; empty for neither.")
    ] = ""
    channel: Annotated[str, Field(description="Channel to follow.")] = "default"
    device_id: Annotated[
        str, Field(description="Name of this device towards the cloud; empty makes one of the host's name.")
    ] = ""
    poll_interval_seconds: Annotated[
        float, Field(gt=0, le=86_400, description="Between two polls, give or take a tenth.")
    ] = 30.0
    cloud_timeout_seconds: Annotated[
        float, Field(gt=0, le=600, description="For connecting, and between two pieces of an answer.")
    ] = 10.0
    download_deadline_seconds: Annotated[
        float, Field(gt=0, le=86_400, description="For one download in all; what came is kept and resumed.")
    ] = 900.0
    max_bank_bytes: Annotated[
        int, Field(ge=0, description="Largest expert bank to fetch and keep; above it, whole bundles are fetched.")
    ] = 2 * 1024**3

    base_model: Annotated[
        Path, Field(description="base GGUF: the edge model's high-precision weights, from `loragen-edge convert`.")
    ] = Path("models/nano/edge-f16.gguf")
    admit_base_digest: Annotated[
        str | None, Field(description="Edge-model digest that a base GGUF without one in its metadata stands for.")
    ] = None
    data_dir: Annotated[Path, Field(description="Where slots, bundles, banks and the state are kept.")] = Path(
        "build/edge"
    )
    type: Annotated[TypeName, Field(description="Quantization of the slots.")] = "Q4_K"

    host: Annotated[str, Field(description="Address to serve on; 0.0.0.0 for all.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535, description="Port to serve on; 0 takes a free one.")] = 8090
    max_resident: Annotated[
        int, Field(ge=1, le=1_024, description="Slots in memory; the least recently used makes room, and is reloaded.")
    ] = 4
    max_queue: Annotated[
        int,
        Field(ge=1, le=10_000, description="Requests waiting for one slot; more are answered 503 with Retry-After."),
    ] = 32
    context_tokens: Annotated[
        int,
        Field(ge=16, le=1_048_576, description="Prompt and answer together; the model's own limit, when lower, wins."),
    ] = 2048
    threads: Annotated[
        int,
        Field(
            ge=0, le=1_024, description="Threads of one slot; 0 takes the cores it may run on, whatever a CPU quota."
        ),
    ] = 0
    gpu_layers: Annotated[
        int,
        Field(ge=-1, le=1_024, description="Layers on an accelerator, when llama.cpp was built for one; -1 for all."),
    ] = 0
    prefix_cache: Annotated[
        bool, Field(description="Reuse the context of the prompt before; off only to measure what it saves.")
    ] = True
    drain_seconds: Annotated[
        float, Field(ge=0, le=3_600, description="For requests in flight at the end; then they are cut off.")
    ] = 10.0

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(description="Least level to log.")] = (
        "INFO"
    )
    log_json: Annotated[bool, Field(description="Logs as lines of JSON, not for people.")] = False

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises:
            ConfigurationError: A value is missing, malformed or contradicts another.
        """
        try:
            return cls()
        except ValidationError as error:
            lines = [
                f"{'_'.join(['LORAGEN_EDGE', *(str(part).upper() for part in each['loc'])])}: {each['msg']}"
                for each in error.errors(include_url=False)
            ]
            raise ConfigurationError("\n".join(lines), "docs/reference.md lists the settings") from error

    @property
    def effective_device_id(self) -> str:
        """The device's name: the configured one, or the host's as a name that the cloud takes."""
        return self.device_id or re.sub(r"[^a-z0-9]+", "-", platform.node().lower())[:253].strip("-") or "device"

    @property
    def effective_threads(self) -> int:
        """Threads of one slot: the configured number, or the cores that this process may use."""
        if self.threads:
            return self.threads
        # A container's CPU set shows in the affinity, where the system has one; its CPU quota does not.
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @field_validator("log_level", mode="before")
    @classmethod
    def _level_in_any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("channel")
    @classmethod
    def _channel_is_a_name(cls, value: str) -> str:
        return _as_value(verify_name, value)

    @field_validator("device_id")
    @classmethod
    def _device_id_is_a_name(cls, value: str) -> str:
        return _as_value(verify_device_name, value) if value else value

    @field_validator("admit_base_digest")
    @classmethod
    def _digest_is_one(cls, value: str | None) -> str | None:
        return None if not value else _as_value(verify_digest, value)

    @field_validator("cloud_grpc")
    @classmethod
    def _grpc_is_an_address(cls, value: str) -> str:
        if value and not re.fullmatch(r"[^\s/:]+:\d{1,5}|\[[0-9A-Fa-f:]+\]:\d{1,5}", value):
            raise ValueError(f"expected host:port, found {value!r}")
        return value

    @model_validator(mode="after")
    def _grpc_goes_with_http(self) -> Self:
        if self.cloud_grpc and self.cloud_url is None:
            raise ValueError("LORAGEN_EDGE_CLOUD_GRPC needs LORAGEN_EDGE_CLOUD_URL: gRPC only says when to poll")
        return self


def _as_value(verify: Callable[[str], str], value: str) -> str:
    try:
        return verify(value)
    except ContractError as error:
        raise ValueError(str(error)) from error
