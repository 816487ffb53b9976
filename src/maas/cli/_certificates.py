"""The commands on the certificates of a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from maas.cli._options import AskBecomePass, DryRun, Name, Output, OwnInventory, Yes, sudo_password

certificates_app = typer.Typer(invoke_without_command=True)


@certificates_app.callback()
def certificates(context: typer.Context, *, name: Name = "lab", output: Output = "text") -> None:
    """Show when the certificates of a cluster expire, or renew them."""
    from maas.commands import certificates as command

    if context.invoked_subcommand is None:
        command.show(name)


@certificates_app.command("renew")
def renew(
    *,
    name: Name = "lab",
    inventory: OwnInventory = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also certificates that do not expire soon, except CAs and kubelets' own.")
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Host that is down and is left out this time. Can be repeated."),
    ] = None,
    ask_become_pass: AskBecomePass = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Renew the certificates that expire soon, one control plane at a time. Run it again to continue."""
    from maas.commands import certificates as command

    command.renew(
        name,
        inventory,
        everything=everything,
        without=without or [],
        dry_run=dry_run,
        yes=yes,
        become_password=sudo_password(ask=ask_become_pass),
    )
