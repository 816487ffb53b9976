"""The commands that take a cluster from one controller to another one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maas.cli._options import AskBecomePass, DryRun, Identity, Name, OwnInventory, Yes, sudo_password

Target = Annotated[Path | None, typer.Argument(help="The file to write. Default: one in the working directory.")]
Exported = Annotated[Path, typer.Argument(help="What `export-state` wrote.")]
OtherInventory = Annotated[
    Path | None, typer.Option("--inventory", "-i", help="An inventory to use instead of the one in the file.")
]


def export_state(
    file: Target = None,
    *,
    name: Name = "lab",
    inventory: OwnInventory = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option(
            help="Public key of age to encrypt for. Can be repeated. Default: those of the inventory's backups."
        ),
    ] = None,
) -> None:
    """Write what this controller knows of a cluster, with its keys, to an encrypted file for another controller."""
    from maas.commands import state as command

    command.export_state(name, inventory, file, recipients=recipient or [])


def adopt(
    file: Exported,
    *,
    identity: Identity,
    inventory: OtherInventory = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a state on this controller that is newer.")] = False,
    ask_become_pass: AskBecomePass = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Take a cluster over from another controller, with what `export-state` wrote there."""
    from maas.commands import state as command

    command.adopt(
        file,
        identity=identity,
        inventory=inventory,
        force=force,
        dry_run=dry_run,
        yes=yes,
        become_password=sudo_password(ask=ask_become_pass),
    )
