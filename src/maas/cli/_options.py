"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from maas import console

Policy = Literal["auto", "download", "pull", "build"]
"""As maas.bundle.sources.Policy, which takes half a second to import."""


def _set_output(value: console.Output) -> console.Output:
    console.set_output(value)
    return value


Name = Annotated[str, typer.Option("--name", "-n", help="Name of the lab, or of the cluster in the inventory.")]
Inventory = Annotated[Path, typer.Option("--inventory", "-i", help="The hosts and their networks.")]
OwnInventory = Annotated[
    Path | None, typer.Option("--inventory", "-i", help="The hosts of the cluster. Default: those of the lab --name.")
]
Output = Annotated[
    console.Output,
    typer.Option("--output", "-o", callback=_set_output, is_eager=True, help="Format of the result: text or json."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")]
Source = Annotated[
    Policy,
    typer.Option(help="Source of components: auto (the sources of each component in order), download, pull or build."),
]
BundleDirectory = Annotated[
    Path | None, typer.Option("--bundle", help="A bundle made by `maas bundle`. Default: the one in the cache.")
]
PassphraseFile = Annotated[
    Path | None, typer.Option(help="File with the passphrase of the signing key, readable only by you.")
]
Release = Annotated[
    str | None,
    typer.Option(help="Name of the Helm release. Default: the one in the cluster, whatever its name and namespace."),
]
Identity = Annotated[Path, typer.Option("--identity", help="File with a private key of age, readable only by you.")]
Timings = Annotated[bool, typer.Option("--timings", help="Show at the end how long each phase took, on each host.")]
AskBecomePass = Annotated[
    bool, typer.Option("--ask-become-pass", "-K", help="Ask for the password for sudo. It is not stored.")
]
Values = Annotated[
    list[Path] | None, typer.Option("--values", "-f", help="Values file for the chart. Can be repeated.")
]


def sudo_password(where: str = "the hosts", *, ask: bool) -> str | None:
    """Return the password for sudo on hosts, or None if it was not asked for with `--ask-become-pass`."""
    return console.password(f"password for sudo on {where}") if ask else None
