"""Settings of the cloud service: variables with the prefix `LORAGEN_CLOUD_`, or a file.

How they are read, and what both services can be set to, is `loragen.settings`. Limits of requests are not settings
(`limits`).
"""

import json
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from cloud_service.access.authenticator import Authentication
from cloud_service.access.control import DocsAccess, MetricsAccess
from cloud_service.access.token_rules import TokenRules, verify_url
from cloud_service.access.usage import UsageLimits
from cloud_service.store.backends import BUNDLE_URLS, STORE_URLS, verify_bundle_url, verify_store_url
from loragen.default_pair import DEFAULT_PAIR
from loragen.settings import CLOUD_PREFIX, CommaList, ServiceSettings
from loragen.web.tls import TlsFiles


class GeneratorSource(BaseModel):
    """Where one generator and the two models it belongs to are found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    directory: Path = Field(description="Checkpoint: generator.json, router.safetensors, bank.safetensors.")
    cloud_model: str = Field(
        description="Hugging Face directory or id of the model that reads task descriptions, or package:NAME for the "
        "one that an installed Python package carries."
    )
    edge_model: str = Field(
        description="Hugging Face directory or id of the model that is specialized, or a GGUF file; package:NAME/PATH "
        "names one that an installed Python package carries."
    )
    device: str = Field(default="cpu", description="Torch device of the cloud model.")


_DEFAULT = GeneratorSource(
    directory=DEFAULT_PAIR.generator, cloud_model=DEFAULT_PAIR.cloud_model, edge_model=DEFAULT_PAIR.edge_model
)


class CloudSettings(ServiceSettings):
    """Everything that an operator of the cloud service can set."""

    model_config = SettingsConfigDict(env_prefix=CLOUD_PREFIX)

    port: int = Field(default=8080, ge=0, le=65535, description="HTTP port; 0 picks a free one.")
    grpc_port: int = Field(default=50051, ge=0, le=65535, description="gRPC port; 0 picks a free one.")

    tls_client_ca: Path | None = Field(
        default=None,
        description="Mutual TLS: certificates of the authorities, PEM, of which every client must show a certificate.",
    )
    trusted_proxies: CommaList = Field(
        default=(),
        description="Addresses and networks, with commas between them, of the proxies in front of HTTP. Who calls "
        "through them, by the audit log, is whom their `X-Forwarded-For` names; from others the header means nothing.",
    )
    authentication: Authentication = Field(
        default="auto",
        description="Whether calls need an API key. `keys`: they do. `none`: they do not, because something in front "
        "of the service asks who calls. `auto`: they do from the time on that there is a key; until then the service "
        "listens on loopback only.",
    )
    docs: DocsAccess = Field(
        default="open",
        description="Whether the service describes itself, at /docs and /openapi.json: to everybody, and by gRPC "
        "reflection too; to keys with the scope `read`; or not at all.",
    )
    metrics: MetricsAccess = Field(
        default="key", description="Whether /metrics needs a key of the operator with the scope `read`, or none."
    )

    oidc_issuer: str | None = Field(
        default=None,
        description="OpenID provider whose tokens are good beside API keys: its URL, as the claim `iss` says it.",
    )
    oidc_audience: str | None = Field(
        default=None, description="What the claim `aud` of tokens for this service names; needed with an issuer."
    )
    oidc_scopes_claim: str = Field(
        default="scope",
        min_length=1,
        description="Claim of a token that holds its scopes: a text with spaces between them, or a list. Dots lead "
        "into objects: `realm_access.roles`.",
    )
    oidc_scope_prefix: str = Field(
        default="",
        description="What stands before the name of each scope in that claim, such as `loragen:`; scopes without it "
        "are those of other services.",
    )
    oidc_tenant_claim: str = Field(
        default="",
        description="Claim of a token that names its tenant; tokens without it are refused. Empty: tokens are the "
        "operator's, which see everything.",
    )

    calls_per_minute: int = Field(default=0, ge=0, description="Most calls of one API key a minute; 0 sets no limit.")
    calls_at_a_time: int = Field(
        default=0, ge=0, description="Most calls of one API key at a time, at each replica; 0 sets no limit."
    )
    generations_per_day: int = Field(
        default=0,
        ge=0,
        description="Most generations for one tenant, or one API key without a tenant, a day (UTC), those from the "
        "store not counted; 0 sets no limit.",
    )
    prompt_tokens_per_day: int = Field(
        default=0, ge=0, description="Most prompt tokens that are read for one tenant or key a day; 0 sets no limit."
    )
    probes_per_day: int = Field(
        default=0, ge=0, description="Most probes that one tenant or key begins in a day; 0 sets no limit."
    )
    refinements_per_day: int = Field(
        default=0,
        ge=0,
        description="Most refinements that one tenant or key begins in a day, those from the store not counted; 0 sets "
        "no limit.",
    )
    imports_per_day: int = Field(
        default=0, ge=0, description="Most LoRAs of its own that one tenant or key imports in a day; 0 sets no limit."
    )
    share_percent: int = Field(
        default=50,
        ge=0,
        le=100,
        description="Most of the places of one replica for probes, refinements, imports and open watches that one "
        "tenant, or one API key without a tenant, may take; 0 sets no limit.",
    )

    bytes_per_tenant: int = Field(
        default=128 * 1024**2,
        ge=0,
        description="Most bytes of recipes and imported LoRAs that one tenant has in the store, and as many again of "
        "versions of its channels, of which older ones make room; 0 sets no limit.",
    )
    channels_per_tenant: int = Field(
        default=1_000, ge=0, description="Most channels that one tenant has at a time; 0 sets no limit."
    )
    devices_per_tenant: int = Field(
        default=100_000,
        ge=0,
        description="Most devices that report to the channels of one tenant with its keys; 0 sets no limit.",
    )

    keys_per_tenant: int = Field(
        default=200_000,
        ge=0,
        description="Most API keys that one tenant has: by default one for each of its devices, and another one while "
        "that is rotated. Those that were revoked or have expired make room for new ones; 0 sets no limit.",
    )

    audit_days: int = Field(
        default=365, ge=0, le=36_500, description="How long entries of the audit log are kept; 0 keeps them for ever."
    )
    audit_entries: int = Field(
        default=100_000,
        ge=0,
        description="Most entries of the audit log about what one tenant, or the operator, did; the oldest make room "
        "and are in the service's log then. 0 sets no limit.",
    )

    deleted_days: int = Field(
        default=90,
        ge=0,
        le=36_500,
        description="How long the last version and the events of a deleted channel are kept, or longer, while a device "
        "reports that it follows it, and how long an API key that was revoked or has expired stays listed; 0 keeps "
        "them for ever.",
    )

    generators: tuple[GeneratorSource, ...] = Field(
        default=(_DEFAULT,),
        min_length=1,
        description="List of {directory, cloud_model, edge_model, device}, as JSON in the variable; the first is the "
        "default generator.",
    )

    store_url: SecretStr = Field(
        default=SecretStr("sqlite:///build/cloud/store.sqlite3"),
        description=f"The store: {STORE_URLS}.",
    )
    store_timeout_seconds: float = Field(
        default=5.0, gt=0, description="Longest wait for one answer of the store, and for one of object storage."
    )
    bundle_url: str | None = Field(
        default=None,
        description=f"Object storage for bundles, which are in the store otherwise: {BUNDLE_URLS}. Endpoint, region "
        "and credentials come from the variables that AWS's clients read.",
    )
    bundle_budget_bytes: int = Field(
        default=1024**3, ge=0, description="Bundles kept; the least recently used are evicted and rebuilt on demand."
    )
    import_budget_bytes: int = Field(
        default=256 * 1024**2,
        ge=0,
        description="Bundles of users' own LoRAs kept, which are never evicted; when they fill it, no other is taken "
        "until one expires or is deleted. 0 takes none.",
    )
    recipe_ttl_seconds: int = Field(
        default=90 * 86400,
        ge=60,
        description="How long an unpublished recipe is kept after the last generation request for it, and an "
        "unpublished LoRA of a user's own after it was imported; downloads do not count.",
    )
    device_ttl_seconds: int = Field(
        default=86400,
        ge=1,
        description="How long a device that went silent stays in the listing; one whose state does not change reports "
        "once an hour.",
    )

    max_batch: int = Field(
        default=8, ge=1, description="Most prompts in one forward pass; on a CPU each has one of its own."
    )
    max_delay_seconds: float = Field(
        default=0.005, ge=0, description="Longest wait of a prompt for others to join its batch."
    )
    max_queue: int = Field(
        default=12,
        ge=1,
        description="Most waiting prompts, a third of them for those that come back after Retry-After; beyond it, 503 "
        "with Retry-After. In a longer queue each one waits longer.",
    )
    request_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Longest time for one generation, queue included. A model that takes longer makes the service not "
        "ready, and not live after four times that.",
    )
    body_timeout_seconds: float = Field(
        default=10.0,
        gt=0,
        le=30,
        description="Longest time for a request body, or a message over gRPC, to arrive; over HTTP "
        "the connection has 30 s.",
    )
    probe: bool = Field(
        default=True,
        description="Whether requests may carry a probe; the first one loads the edge model's weights.",
    )
    probe_max_queue: int = Field(
        default=8,
        ge=1,
        description="Most probes that are prepared, wait or run; beyond it, 503 with Retry-After.",
    )
    refine: bool = Field(
        default=True,
        description="Whether requests may be refined on their examples; the first one loads the edge model's weights.",
    )
    refine_threads: int = Field(default=1, ge=1, description="Threads that a refinement computes with.")
    refine_max_queue: int = Field(
        default=16,
        ge=1,
        description="Most refinements that wait or run, jobs included; beyond it, 503 with Retry-After.",
    )
    refine_max_seconds: float = Field(default=600.0, ge=1, description="Largest budget of one refinement.")
    job_deadline_seconds: float = Field(
        default=3600.0, gt=0, description="Longest time for a job, the queue of refinements included."
    )
    assembly_threads: int = Field(default=2, ge=1, description="Threads that build bundles from recipes.")
    watch_interval_seconds: float = Field(
        default=1.0,
        gt=0,
        description="How often watched channels are looked up for changes by other replicas. One that is not there yet "
        "is looked up more and more seldom, so its first publish at another replica is heard of within 30 s.",
    )
    channel_versions: int = Field(
        default=50,
        ge=1,
        le=1000,
        description="Versions of a channel that are kept, to go back to; what one of them lists is kept with it.",
    )
    channel_cache_seconds: int = Field(
        default=0,
        ge=0,
        le=3600,
        description="How long shared HTTP caches may answer polls of a channel by themselves; 0 has them ask each "
        "time. While a rollout goes on they always ask.",
    )
    signing_dir: Path | None = Field(
        default=None,
        description="Keys of signed channels: a folder with a folder for each, by the channel's name, that "
        "`loragen channels init` made for the cloud. The other channels are not signed.",
    )
    drain_delay_seconds: float = Field(
        default=0.0, ge=0, description="On shutdown: not ready for this long before connections are refused."
    )

    @property
    def tls_files(self) -> TlsFiles | None:
        """What TLS is made of, for HTTP and gRPC; None without TLS."""
        files = super().tls_files
        return None if files is None else replace(files, client_ca=self.tls_client_ca)

    @property
    def token_rules(self) -> TokenRules | None:
        """Which tokens are good; None when none are."""
        if self.oidc_issuer is None or self.oidc_audience is None:
            return None
        return TokenRules(
            self.oidc_issuer, self.oidc_audience, self.oidc_scopes_claim, self.oidc_scope_prefix, self.oidc_tenant_claim
        )

    @property
    def usage_limits(self) -> UsageLimits:
        """What each API key may use."""
        return UsageLimits(
            self.calls_per_minute,
            self.calls_at_a_time,
            self.generations_per_day,
            self.prompt_tokens_per_day,
            self.probes_per_day,
            self.refinements_per_day,
            self.imports_per_day,
            self.share_percent,
        )

    @field_validator("generators", mode="before")
    @classmethod
    def _decode_json(cls, value: object) -> object:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError as e:
            raise ValueError(f"expected JSON: {e}") from e

    @field_validator("store_url")
    @classmethod
    def _verify_store_url(cls, value: SecretStr) -> SecretStr:
        verify_store_url(value.get_secret_value())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _verify_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # uvicorn would take anything else for a name, and believe nobody.
        return tuple(str(ip_network(each)) for each in value)

    @field_validator("bundle_url")
    @classmethod
    def _verify_bundle_url(cls, value: str | None) -> str | None:
        return None if value is None else verify_bundle_url(value)

    @field_validator("oidc_issuer")
    @classmethod
    def _verify_issuer(cls, value: str | None) -> str | None:
        return None if value is None else verify_url(value)

    @model_validator(mode="after")
    def _verify_tokens(self) -> Self:
        self.verify_pair("oidc_issuer", "oidc_audience")
        if self.oidc_issuer is not None and self.authentication == "none":
            raise ValueError("LORAGEN_CLOUD_OIDC_ISSUER: expected no LORAGEN_CLOUD_AUTHENTICATION=none beside it")
        return self

    @model_validator(mode="after")
    def _verify_client_ca(self) -> Self:
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("LORAGEN_CLOUD_TLS_CLIENT_CA: expected LORAGEN_CLOUD_TLS_CERTIFICATE beside it")
        return self

    @model_validator(mode="after")
    def _verify_ports(self) -> Self:
        if self.port == self.grpc_port != 0:
            raise ValueError(
                f"LORAGEN_CLOUD_PORT and LORAGEN_CLOUD_GRPC_PORT: expected two ports, found {self.port} for both"
            )
        return self
