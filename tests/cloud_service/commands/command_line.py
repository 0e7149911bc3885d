"""Helper: runs `loragen` in this process, beside a service that runs there too."""

import asyncio

from typer.testing import CliRunner, Result

from cloud_service.commands import main as cli


async def loragen(*arguments: object, key: str = "", store: str = "", given: str = "") -> Result:
    """What a command came to; with an API key and the URL of a store in its environment, and a standard input."""
    variables = {"LORAGEN_API_KEY": key or None, "LORAGEN_CLOUD_STORE_URL": store or None}
    return await asyncio.to_thread(
        CliRunner().invoke, cli.app, [str(argument) for argument in arguments], given, env=variables
    )
