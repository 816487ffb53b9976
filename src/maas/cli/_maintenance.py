"""The commands that restart hosts, or replace what all of them trust."""

from __future__ import annotations

from typing import Annotated

import typer

from maas.cli._options import AskBecomePass, DryRun, Name, OwnInventory, Yes, sudo_password


def rotate_ca(
    kind: Annotated[str, typer.Argument(help="vpn, service-accounts, front-proxy or etcd.")],
    *,
    name: Name = "lab",
    inventory: OwnInventory = None,
    ask_become_pass: AskBecomePass = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Replace a CA of the cluster, or the key that signs tokens, in phases. Run it again to continue.

    Not yet tried on a cluster: use it on one that you can lose.
    """
    from maas.commands import rotate_ca as command

    command.rotate(
        command.known(kind),
        name,
        inventory,
        dry_run=dry_run,
        yes=yes,
        become_password=sudo_password(ask=ask_become_pass),
    )


def reboot(
    hosts: Annotated[
        list[str] | None, typer.Argument(metavar="HOST", help="Hosts. Default: all that need a reboot.")
    ] = None,
    *,
    name: Name = "lab",
    inventory: OwnInventory = None,
    everything: Annotated[bool, typer.Option("--all", help="Also hosts that do not need a reboot.")] = False,
    upgrade_packages: Annotated[
        bool, typer.Option("--upgrade-packages", help="Install the security updates of each host before its reboot.")
    ] = False,
    window: Annotated[
        str | None, typer.Option(help="Only begin a reboot between these times of this machine: 02:00-05:00.")
    ] = None,
    ignore_alert: Annotated[
        list[str] | None, typer.Option(help="Critical alert that may fire meanwhile. Can be repeated.")
    ] = None,
    drain_timeout: Annotated[float, typer.Option(help="Seconds that each drain may take.", min=1)] = 300,
    boot_timeout: Annotated[float, typer.Option(help="Seconds that each host may take to boot.", min=1)] = 900,
    ask_become_pass: AskBecomePass = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Restart the hosts that need it, one at a time, each after its pods run elsewhere. Run it again to continue."""
    from maas.commands import reboot as command

    options = command.Options(
        names=tuple(hosts or ()),
        everything=everything,
        packages=upgrade_packages,
        window=None if window is None else command.Window.parse(window),
        ignored=tuple(ignore_alert or ()),
        drain_seconds=drain_timeout,
        boot_seconds=boot_timeout,
    )
    command.reboot(
        name, inventory, options, dry_run=dry_run, yes=yes, become_password=sudo_password(ask=ask_become_pass)
    )
