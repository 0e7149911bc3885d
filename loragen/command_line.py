"""What `loragen` and `loragen-edge` share: the options `--version` and `--config`, and how errors are shown.

The packages of both services are always installed; what they need of others comes with an extra.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from loragen.client.errors import ClientError
from loragen.contract.errors import ContractError
from loragen.version import package_version
from loragen.web.errors import ServiceError

_OURS = ("loragen", "cloud_service", "edge_runtime")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(package_version())
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="YAML or TOML file of settings; environment variables win over it."),
]


@contextmanager
def reporting_errors(exit_code: int = 1) -> Iterator[None]:
    """End the command with one line, and a hint where there is one, on an error that was raised on purpose."""
    try:
        yield
    except (ServiceError, ClientError, ContractError, OSError) as e:
        typer.secho("error", fg="red", bold=True, err=True, nl=False)
        code = getattr(e, "code", "")
        typer.echo(f"{code and f' ({code})'}: {e}", err=True)
        if hint := getattr(e, "hint", ""):
            typer.echo(f"hint: {hint}", err=True)
        raise typer.Exit(exit_code) from e


@contextmanager
def naming_extra(extra: str) -> Iterator[None]:
    """End the program with one line when a package of `extra` is not installed.

    Raises:
        ModuleNotFoundError: A module of this project is missing: no extra brings it.
    """
    try:
        yield
    except ModuleNotFoundError as e:
        module = (e.name or "").partition(".")[0]
        if module in ("", *_OURS):
            raise
        sys.exit(f"error: {module} is not installed; this command needs: pip install 'loragen[{extra}]'")
