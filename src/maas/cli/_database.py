"""The commands on the restaurant's database."""

from __future__ import annotations

from typing import Annotated

import typer

from maas.cli._options import Name, Output, OwnInventory, Yes  # noqa: TC001 - typer evaluates annotations

database_app = typer.Typer(
    no_args_is_help=True, help="Show the servers of the database, move its primary, and restart them."
)

To = Annotated[str | None, typer.Option("--to", help="The replica. Default: the one with the least lag.")]


@database_app.command("status")
def database_status(*, name: Name = "lab", inventory: OwnInventory = None, output: Output = "text") -> None:
    """Show the servers, which of them accepts writes, and how far the others are behind."""
    from maas.commands import database as command

    command.status(name, inventory)


@database_app.command("switchover")
def database_switchover(*, to: To = None, name: Name = "lab", inventory: OwnInventory = None, yes: Yes = False) -> None:
    """Make a replica the primary, before its node is maintained for instance. Requests wait for some seconds."""
    from maas.commands import database as command

    command.switchover(name, inventory, to, yes=yes)


@database_app.command("restart")
def database_restart(*, name: Name = "lab", inventory: OwnInventory = None, yes: Yes = False) -> None:
    """Restart the servers one after the other, the primary last, after a switchover."""
    from maas.commands import database as command

    command.restart(name, inventory, yes=yes)
