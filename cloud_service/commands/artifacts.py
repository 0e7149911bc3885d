"""The command line's `bundles` and `recipes`: they talk to a running service."""

from typing import Annotated

import typer

from cloud_service.commands.options import DEFAULT_URL, Url, Yes
from loragen import CloudClient
from loragen.error_lines import reporting_errors

bundles_app = typer.Typer(no_args_is_help=True, help="Delete bundles that no channel names.")
recipes_app = typer.Typer(no_args_is_help=True, help="Delete recipes that no channel names.")


@bundles_app.command("delete")
def delete_bundle(
    bundle_id: Annotated[str, typer.Argument(help="Id of the bundle, or of the recipe that makes it.")],
    yes: Yes = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Delete a bundle, with the recipe that makes it."""
    if not yes:
        typer.confirm(f"Delete bundle {bundle_id}?", abort=True)
    with reporting_errors(), CloudClient(url) as cloud:
        cloud.delete_bundle(bundle_id)
    typer.echo(f"{bundle_id} is deleted")


@recipes_app.command("delete")
def delete_recipe(
    recipe_id: Annotated[str, typer.Argument(help="Id of the recipe.")], yes: Yes = False, url: Url = DEFAULT_URL
) -> None:
    """Delete a recipe, with the bundle that it makes."""
    if not yes:
        typer.confirm(f"Delete recipe {recipe_id}?", abort=True)
    with reporting_errors(), CloudClient(url) as cloud:
        cloud.delete_recipe(recipe_id)
    typer.echo(f"{recipe_id} is deleted")
