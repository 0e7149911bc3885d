"""Settings of a service: environment variables, and a file behind them, read once at the start.

Rules it keeps:
- A bad value, an unknown name and an unreadable file stop the start, with one line for each that names it.
- An environment variable wins over the file. An empty value counts as none, in both.
- A process checks the variables with its own prefix, and every other name that starts with `LORAGEN_`. Those of the
  other service are left to that service.

What both services have is here, under one name. What only one has is in its `config.py`.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from loragen.web.errors import ConfigurationError
from loragen.web.hosts import AllowedHosts, verify_pattern
from loragen.web.logs import LogFormat
from loragen.web.tls import TlsFiles

CLOUD_PREFIX = "LORAGEN_CLOUD_"
EDGE_PREFIX = "LORAGEN_EDGE_"

OTHER_VARIABLES = {
    "LORAGEN_API_KEY": "Command line `loragen` and `CloudClient`: API key for the cloud service.",
    "LORAGEN_CACHE": "`make setup`: where the built llama-cpp-python wheel is kept between clones.",
    "LORAGEN_URL": "Command line `loragen`: base URL of the service that its commands talk to.",
}
"""Every variable of ours that is no setting of a service, and what reads it."""


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaList = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Texts with commas between them in a variable, and a list in a file."""

_HINT = "docs/reference.md lists the settings and their defaults"


class ServiceSettings(BaseSettings):
    """What an operator can set in both services; immutable. Subclasses add their own, and set `env_prefix`."""

    # Without decoding, a variable is text until its field is validated: bad JSON is a problem like every other.
    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_ignore_empty=True, enable_decoding=False)

    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    allowed_hosts: CommaList = Field(
        default=(),
        description="Hosts that requests may name in `Host`, with commas between them, besides loopback and the "
        "address listened on: names as clients write them, `*.name`, or `*` for all. Pages of these hosts may send "
        "requests, too; other pages only to the very host that they come from.",
    )
    tls_certificate: Path | None = Field(
        default=None, description="Certificate chain, PEM, to serve with; without it everything is served in the clear."
    )
    tls_key: Path | None = Field(default=None, description="Its private key, PEM, without a password.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    log_format: LogFormat = Field(default="json", description="Logs as one JSON object a line, or for people.")
    shutdown_timeout_seconds: int = Field(
        default=30, ge=1, le=3600, description="On shutdown: time for requests in flight, then they are cut off."
    )

    @classmethod
    def load(cls, config: Path | None = None) -> Self:
        """Read the environment and, if given, a file.

        Args:
            config: A YAML or TOML file whose keys are the names of the fields.

        Raises:
            ConfigurationError: A value is malformed or out of range, a name is unknown, or the file cannot be read.
        """
        from_file = _read_file(config) if config else {}
        from_environment = EnvSettingsSource(cls)()
        prefix, names = cls.model_config["env_prefix"], list(cls.model_fields)
        problems = [
            *_unknown_variables(os.environ, prefix, [cls.variable(name) for name in names]),
            *(f"{config}: {key}: no such setting; {_nearest(key, names)}" for key in from_file if key not in names),
        ]
        values = {name: value for name, value in (from_file | from_environment).items() if name in names}
        try:
            settings = cls(**values)
        except ValidationError as e:
            for error in e.errors(include_url=False, include_input=False):
                name, *path = map(str, error["loc"] or ("",))
                in_file = name in from_file and name not in from_environment
                place = f"{config}: {name}" if in_file else cls.variable(name)
                message = error["msg"].removeprefix("Value error, ")
                # A rule about several settings belongs to none of them, and names them itself.
                problems.append(f"{'.'.join([place, *path])}: {message}" if name else message)
            raise ConfigurationError("\n".join(problems), _HINT) from e
        if problems:
            raise ConfigurationError("\n".join(problems), _HINT)
        return settings

    @property
    def hosts(self) -> AllowedHosts:
        """What requests may be addressed to."""
        return AllowedHosts.of(self.host, self.allowed_hosts)

    @property
    def tls_files(self) -> TlsFiles | None:
        """What TLS is made of; None without TLS."""
        if self.tls_certificate is None or self.tls_key is None:
            return None
        return TlsFiles(self.tls_certificate, self.tls_key)

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of a field."""
        return f"{cls.model_config['env_prefix']}{name}".upper()

    def verify_pair(self, first: str, second: str) -> None:
        """Return when both of two fields are set, or none.

        Raises:
            ValueError: One of them is.
        """
        if (getattr(self, first) is None) is not (getattr(self, second) is None):
            raise ValueError(f"{self.variable(first)} and {self.variable(second)}: expected both, found one")

    @model_validator(mode="after")
    def _verify_certificate(self) -> Self:
        self.verify_pair("tls_certificate", "tls_key")
        return self

    @field_validator("allowed_hosts")
    @classmethod
    def _verify_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(verify_pattern(pattern) for pattern in value)

    @field_validator("log_level", mode="before")
    @classmethod
    def _level_in_any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


def _unknown_variables(environment: Iterable[str], prefix: str, names: list[str]) -> Iterator[str]:
    others = tuple({CLOUD_PREFIX, EDGE_PREFIX} - {prefix})
    for variable in sorted(environment):
        name = variable.upper()
        if not name.startswith("LORAGEN_") or name.startswith(others) or name in names or name in OTHER_VARIABLES:
            continue
        known = [*names, *OTHER_VARIABLES]
        if not name.startswith(prefix):
            # The names of the other service are not known here, but its prefix is: LORAGEN_EGDE_X was to be its X.
            known += [other + name.split("_", 2)[-1] for other in others]
        yield f"{variable}: no such variable; {_nearest(name, known)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    (nearest,) = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"the nearest is {nearest}"


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            values: object = tomllib.loads(content)
        elif path.suffix in (".yaml", ".yml"):
            values = _parse_yaml(content)
        else:
            raise ConfigurationError(f"{path}: expected a name that ends in .yaml, .yml or .toml", _HINT)
    except (OSError, ValueError) as e:
        raise ConfigurationError(f"{path}: {' '.join(str(e).split())}", _HINT) from e
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path}: expected names and values, found {type(values).__name__}", _HINT)
    return {str(key): value for key, value in values.items() if value is not None and value != ""}


def _parse_yaml(content: str) -> object:
    # Loaded here: a megabyte that a service without such a file does without.
    import yaml

    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as e:
        raise ValueError(str(e)) from e
