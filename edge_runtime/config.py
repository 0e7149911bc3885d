"""Settings of the edge runtime: variables with the prefix `LORAGEN_EDGE_`, or a file.

How they are read, and what both services can be set to, is `loragen.settings`. Nothing here touches the network.
"""

import json
import platform
import re
from pathlib import Path
from typing import Self

from pydantic import Field, HttpUrl, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from edge_runtime.gguf.quantization import Quantization
from edge_runtime.memory import models_that_fit, usable_memory
from edge_runtime.merge_policy import MergePolicy, ServingMode
from edge_runtime.processors import usable_processors
from edge_runtime.serving.chat import verify_variables
from loragen.contract.errors import checked_value
from loragen.contract.names import verify_device_name, verify_digest, verify_name
from loragen.contract.polling import parse_labels, verify_labels
from loragen.default_pair import DEFAULT_PAIR
from loragen.settings import EDGE_PREFIX, CommaList, ServiceSettings


class EdgeSettings(ServiceSettings):
    """Everything that an operator of a device can set."""

    model_config = SettingsConfigDict(env_prefix=EDGE_PREFIX)

    port: int = Field(default=8090, ge=0, le=65535, description="HTTP port; 0 picks a free one.")

    api_key: SecretStr | None = Field(
        default=None,
        description="What requests must say as `Authorization: Bearer KEY`, save for probes; without it, anybody who "
        "reaches the device is answered.",
    )
    cors_origins: CommaList = Field(
        default=(),
        description="Origins whose pages may use the device from a browser, such as https://app.example, with commas "
        "between them; `*` for all, which needs an API key.",
    )
    chat_template_kwargs: dict[str, bool | int | float | str] = Field(
        default_factory=dict,
        description='Variables of the models\' chat templates, as a JSON object such as {"enable_thinking": false}; a '
        "request may set others.",
    )

    cloud_url: HttpUrl | None = Field(
        default=None, description="Cloud service to follow; without it the device serves what it has."
    )
    cloud_grpc: str | None = Field(
        default=None,
        description="host:port of the cloud's gRPC, to learn of changes at once and to report; without it the device "
        "only polls.",
    )
    cloud_api_key: SecretStr | None = Field(
        default=None, description="API key for the cloud, of the scope `device` and for this device's name."
    )
    cloud_api_key_file: Path | None = Field(
        default=None, description="A file with that key, instead; it is read again when it changes."
    )
    cloud_ca_file: Path | None = Field(
        default=None,
        description="Certificates of the authorities, PEM, that the cloud is trusted by; by default the system's.",
    )
    cloud_certificate: Path | None = Field(
        default=None, description="Mutual TLS: certificate chain, PEM, that the device shows to the cloud."
    )
    cloud_certificate_key: Path | None = Field(default=None, description="Its private key, PEM, without a password.")
    channel: str = Field(default="default", description="Channel to follow.")
    trusted_root: Path | None = Field(
        default=None,
        description="root.json that `loragen channels init` made for the channel: only what its keys signed is run.",
    )
    allow_unsigned: bool = Field(
        default=False,
        description="Follow a channel that nobody signed, so that whoever answers in the cloud's name chooses what "
        "runs here. A device that follows a cloud needs this or a trusted root.",
    )
    device_id: str | None = Field(
        default=None, description="Name of this device towards the cloud; without it, one is made of the host's name."
    )
    labels: dict[str, str] = Field(
        default={},
        description="What tells devices apart, such as `ring=canary,site=berlin`; a rollout reaches some first.",
    )
    poll_interval_seconds: float = Field(
        default=30.0, gt=0, le=86_400, description="Between two polls, give or take a tenth."
    )
    watch_spread_seconds: float = Field(
        default=5.0,
        ge=0,
        le=3_600,
        description="A device that hears of a change polls within this time, at a moment drawn by chance, so that a "
        "fleet does not poll at once.",
    )
    cloud_timeout_seconds: float = Field(
        default=10.0, gt=0, le=600, description="For connecting, and between two pieces of an answer."
    )
    download_timeout_seconds: float = Field(
        default=900.0, gt=0, le=86_400, description="For one download in all; what came is kept and resumed."
    )
    max_bank_bytes: int = Field(
        default=2 * 1024**3,
        ge=0,
        description="Largest expert bank to fetch and keep; above it, whole bundles are fetched.",
    )

    base_model: Path = Field(
        default=Path(DEFAULT_PAIR.edge_model),
        description="Base GGUF: the edge model's weights, from `loragen-edge convert` or as published; "
        "package:NAME/PATH names a file that a Python package carries.",
    )
    admit_base_digest: str | None = Field(
        default=None, description="Edge-model digest that a base GGUF without one in its metadata stands for."
    )
    data_dir: Path = Field(
        default=Path("build/edge"), description="Where slots, bundles, banks and the state are kept."
    )
    quantization: Quantization = Field(default=Quantization.Q4_K, description="Quantization of the slots.")

    serving_mode: ServingMode = Field(
        default=ServingMode.AUTO,
        description="`merged` merges specializations into models of their own, `attached` leaves them run-time "
        "adapters on one shared model; `auto` merges as many as there is memory for, by LORAGEN_EDGE_MAX_MODEL_BYTES, "
        "those that gain most: a merged one reads faster and writes no faster, so one whose answers are long for what "
        "it reads stays attached (docs/quantization.md).",
    )
    max_model_bytes: int = Field(
        default=0,
        ge=0,
        description="Memory that models may take, the base and merged ones; 0 takes half of what this process may use, "
        "by the machine and by its control group.",
    )
    max_merged: int = Field(
        default=8,
        ge=0,
        le=1024,
        description="Specializations that are merged into a model of their own; the others serve as run-time adapters, "
        "which share one model. Of more specializations, those that are asked most are merged; 0 merges none.",
    )
    max_resident: int = Field(
        default=4,
        ge=1,
        le=1024,
        description="Slots in memory; the least recently used makes room, and is loaded again when it is asked for.",
    )
    sequences: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Requests that one slot answers at a time; 1 answers one after another.",
    )
    max_context_bytes: int = Field(
        default=0,
        ge=0,
        description="Most memory of the contexts of all slots; 0 takes a quarter of what this process may use, by the "
        "machine and by its control group. Where the sequences of a slot would take more than its share, it has fewer, "
        "but one.",
    )
    max_queue: int = Field(
        default=32,
        ge=1,
        le=10_000,
        description="Most requests of one slot, waiting or being answered; beyond it, 503 with Retry-After.",
    )
    queue_seconds: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="Longest wait of a request before it is begun; after it, 503 with Retry-After.",
    )
    answer_tokens: int = Field(
        default=1024, ge=1, le=1_048_576, description="Longest answer to a request that names no limit."
    )
    max_answer_tokens: int = Field(
        default=4096, ge=1, le=1_048_576, description="Longest answer to any request: one that asks for more is cut."
    )
    context_tokens: int = Field(
        default=2048,
        ge=16,
        le=1_048_576,
        description="Prompt and answer of one request together; the model's own limit, when lower, wins.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Threads of one slot; 0 takes as many as pay, by a measurement with the first model, of the "
        "processors it may use, by affinity and by its control group's quota. The number changes the last bits of "
        "logits: set it where answers at temperature 0 are to be the same after each start.",
    )
    gpu_layers: int = Field(
        default=0,
        ge=-1,
        le=1024,
        description="Layers on an accelerator, when llama.cpp was built for one; -1 for all.",
    )

    @property
    def effective_device_id(self) -> str:
        """The device's name: the configured one, or the host's as a name that the cloud takes."""
        return self.device_id or re.sub(r"[^a-z0-9]+", "-", platform.node().lower())[:253].strip("-") or "device"

    @property
    def effective_threads(self) -> int:
        """Threads of one slot: the configured number, or at most the processors that this process may use."""
        return self.threads or usable_processors()

    def merge_policy(self, model_bytes: int) -> MergePolicy:
        """Which specializations are merged.

        Args:
            model_bytes: Of one model as it is served.
        """
        mode, most, limit = self.serving_mode, self.max_merged, "LORAGEN_EDGE_MAX_MERGED"
        if mode is ServingMode.ATTACHED:
            most, limit = 0, "LORAGEN_EDGE_SERVING_MODE"
        elif mode is ServingMode.AUTO:
            fit = models_that_fit(model_bytes, self.model_bytes_budget)
            if fit < most:
                most, limit = fit, f"the memory for models, {self.model_bytes_budget // 10**6} MB"
        return MergePolicy(mode, most, limit)

    @property
    def model_bytes_budget(self) -> int:
        """Memory that models may take."""
        return self.max_model_bytes or usable_memory() // 2

    @property
    def slot_context_bytes(self) -> int:
        """Most memory of one slot's context."""
        return (self.max_context_bytes or usable_memory() // 4) // self.max_resident

    @field_validator("channel")
    @classmethod
    def _verify_channel(cls, value: str) -> str:
        return checked_value(verify_name, value)

    @field_validator("device_id")
    @classmethod
    def _verify_device_id(cls, value: str | None) -> str | None:
        return value and checked_value(verify_device_name, value)

    @field_validator("labels", mode="before")
    @classmethod
    def _parse_labels(cls, value: object) -> object:
        return checked_value(parse_labels, value) if isinstance(value, str) else value

    @field_validator("labels")
    @classmethod
    def _verify_labels(cls, value: dict[str, str]) -> dict[str, str]:
        return dict(checked_value(verify_labels, value))

    @field_validator("admit_base_digest")
    @classmethod
    def _verify_digest(cls, value: str | None) -> str | None:
        return value and checked_value(verify_digest, value)

    @field_validator("cloud_grpc")
    @classmethod
    def _verify_address(cls, value: str | None) -> str | None:
        if value and not re.fullmatch(r"[^\s/:]+:\d{1,5}|\[[0-9A-Fa-f:]+\]:\d{1,5}", value):
            raise ValueError(f"expected host:port, found {value!r}")
        return value

    @field_validator("api_key")
    @classmethod
    def _verify_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[!-~]{16,512}", value.get_secret_value()):
            raise ValueError("expected 16 to 512 visible ASCII characters")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _verify_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"\*|https?://[a-z0-9.-]+(?::\d{1,5})?|https?://\[[0-9a-f:]+\](?::\d{1,5})?", origin):
                raise ValueError(f"expected origins such as https://app.example, in lower case, or *, found {origin!r}")
        return value

    @field_validator("chat_template_kwargs", mode="before")
    @classmethod
    def _parse_variables(cls, value: object) -> object:
        return verify_variables(json.loads(value) if isinstance(value, str) else value)

    @model_validator(mode="after")
    def _pages_need_a_key(self) -> Self:
        if "*" in self.cors_origins and self.api_key is None:
            raise ValueError("LORAGEN_EDGE_CORS_ORIGINS=* needs LORAGEN_EDGE_API_KEY: else any page may use the device")
        return self

    @model_validator(mode="after")
    def _trust_is_decided(self) -> Self:
        if self.trusted_root is not None and self.allow_unsigned:
            raise ValueError(
                "LORAGEN_EDGE_TRUSTED_ROOT and LORAGEN_EDGE_ALLOW_UNSIGNED: expected one of them, found both"
            )
        if self.cloud_url is not None and self.trusted_root is None and not self.allow_unsigned:
            raise ValueError(
                "LORAGEN_EDGE_TRUSTED_ROOT: expected root.json of the channel (loragen channels init makes it), or "
                "LORAGEN_EDGE_ALLOW_UNSIGNED=true to run whatever the cloud sends"
            )
        return self

    @model_validator(mode="after")
    def _verify_cloud_certificate(self) -> Self:
        self.verify_pair("cloud_certificate", "cloud_certificate_key")
        return self

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.cloud_api_key is not None and self.cloud_api_key_file is not None:
            raise ValueError(
                "LORAGEN_EDGE_CLOUD_API_KEY and LORAGEN_EDGE_CLOUD_API_KEY_FILE: expected one of them, found both"
            )
        return self

    @model_validator(mode="after")
    def _grpc_goes_with_http(self) -> Self:
        if self.cloud_grpc and self.cloud_url is None:
            raise ValueError("LORAGEN_EDGE_CLOUD_GRPC needs LORAGEN_EDGE_CLOUD_URL: gRPC only says when to poll")
        return self
