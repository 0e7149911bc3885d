"""The options that `loragen` and `loragen-edge` share: `--version` and `--config`."""

from pathlib import Path
from typing import Annotated

import typer

from loragen.version import package_version


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
