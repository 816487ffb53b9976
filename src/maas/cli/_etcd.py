"""The commands on etcd: backups, and the key that encrypts Secrets in it."""

from __future__ import annotations

from typing import Annotated

import typer

from maas.cli._options import AskBecomePass, DryRun, Identity, Name, Output, OwnInventory, Yes, sudo_password

etcd_app = typer.Typer(no_args_is_help=True, help="Back up etcd, prove backups, and restore one.")
encrypt_app = typer.Typer(no_args_is_help=True, help="Show and rotate the key that encrypts Secrets in etcd.")

BackupName = Annotated[
    str | None,
    typer.Argument(metavar="[BACKUP]", help="A file, or a name of `list`. Default: the newest one on this controller."),
]


@etcd_app.command("backup")
def etcd_backup(*, name: Name = "lab", inventory: OwnInventory = None, ask_become_pass: AskBecomePass = False) -> None:
    """Make a backup on each control plane now, and copy it to this controller."""
    from maas.commands import etcd as command

    command.backup(name, inventory, become_password=sudo_password(ask=ask_become_pass))


@etcd_app.command("list")
def etcd_list(
    *,
    name: Name = "lab",
    inventory: OwnInventory = None,
    ask_become_pass: AskBecomePass = False,
    output: Output = "text",
) -> None:
    """List the backups on the control planes and on this controller."""
    from maas.commands import etcd as command

    command.show(name, inventory, become_password=sudo_password(ask=ask_become_pass))


@etcd_app.command("prove")
def etcd_prove(
    backup: BackupName = None,
    *,
    identity: Identity,
    name: Name = "lab",
    inventory: OwnInventory = None,
    output: Output = "text",
) -> None:
    """Restore a backup into an etcd of its own on this machine, and show what it contains. Contacts no host."""
    from maas.commands import etcd as command

    command.prove(name, inventory, backup, identity=identity)


@etcd_app.command("restore")
def etcd_restore(
    backup: BackupName = None,
    *,
    identity: Identity,
    name: Name = "lab",
    inventory: OwnInventory = None,
    ask_become_pass: AskBecomePass = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Restore a backup onto the control plane that it is of. Run it again to continue after an interruption."""
    from maas.commands import etcd as command

    command.restore(
        name,
        inventory,
        backup,
        identity=identity,
        dry_run=dry_run,
        yes=yes,
        become_password=sudo_password(ask=ask_become_pass),
    )


@encrypt_app.command("status")
def encrypt_status(
    *,
    name: Name = "lab",
    inventory: OwnInventory = None,
    ask_become_pass: AskBecomePass = False,
    output: Output = "text",
) -> None:
    """Show the keys that encrypt Secrets, and which API servers use them."""
    from maas.commands import encrypt as command

    command.status(name, inventory, become_password=sudo_password(ask=ask_become_pass))


@encrypt_app.command("rotate")
def encrypt_rotate(
    *,
    name: Name = "lab",
    inventory: OwnInventory = None,
    ask_become_pass: AskBecomePass = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Replace the key that encrypts Secrets, in phases that can be interrupted and continued."""
    from maas.commands import encrypt as command

    password = sudo_password(ask=ask_become_pass)
    command.rotate(name, inventory, yes=yes, dry_run=dry_run, become_password=password)
