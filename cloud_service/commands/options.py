"""The options that several commands share which talk to a running service."""

from typing import Annotated

import typer

DEFAULT_URL = "http://127.0.0.1:8080"
Url = Annotated[str, typer.Option("--url", envvar="LORAGEN_URL", help="Base URL of the service.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the service's answer as JSON.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
