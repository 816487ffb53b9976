"""The command line: arguments and help of each command, and how errors are shown. The commands are in maas.commands.

A command imports what it needs when it runs, so that `maas --help` starts at once.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal

import typer

from maas import __version__, console, paths, process
from maas.cli._certificates import certificates_app
from maas.cli._database import database_app
from maas.cli._etcd import encrypt_app, etcd_app
from maas.cli._maintenance import reboot, rotate_ca
from maas.cli._options import (
    AskBecomePass,
    BundleDirectory,
    DryRun,
    Inventory,
    Name,
    Output,
    OwnInventory,
    PassphraseFile,
    Release,
    Source,
    Timings,
    Values,
    Yes,
    sudo_password,
)
from maas.cli._state import adopt, export_state
from maas.errors import MaasError, UsageError

app = typer.Typer(
    name="maas",
    help="Turn bare machines in different networks into one private, monitored Kubernetes platform.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_CRASH = "crash.log"


@app.callback(invoke_without_command=True)
def _root(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        console.data(__version__)
        raise typer.Exit


@app.command()
def up(
    *,
    name: Name = "lab",
    control_planes: Annotated[int, typer.Option(help="Number of control planes: 1, 3 or 5.")] = 1,
    workers: Annotated[int, typer.Option(help="Number of workers.")] = 2,
    bundle: BundleDirectory = None,
    source: Source = "auto",
    values: Values = None,
    timings: Timings = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Create a cluster of disposable hosts on this machine, three by default, with MaaS on it."""
    from maas.commands import lab

    lab.up(
        name,
        control_planes=control_planes,
        workers=workers,
        directory=bundle,
        source=source,
        values=values or [],
        dry_run=dry_run,
        yes=yes,
        timings=timings,
    )


@app.command()
def down(*, name: Name = "lab", everything: Annotated[bool, typer.Option("--all", help="Every lab.")] = False) -> None:
    """Remove a lab: its containers, networks, volumes and state directory."""
    from maas.commands import lab

    lab.down(None if everything else name)


@app.command()
def status(*, name: Name = "lab", output: Output = "text") -> None:
    """Show nodes, workloads, certificates and addresses of a cluster."""
    from maas.commands import status as command

    command.status(name)


@app.command()
def bootstrap(
    *,
    inventory: Inventory = Path("hosts.yaml"),
    bundle: BundleDirectory = None,
    source: Source = "auto",
    values: Values = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Host that is down and is left out this time. Can be repeated."),
    ] = None,
    accept_slow_etcd: Annotated[
        bool,
        typer.Option(
            "--accept-slow-etcd", help="Accept control planes that are far from each other or have slow disks."
        ),
    ] = False,
    ask_become_pass: AskBecomePass = False,
    timings: Timings = False,
    dry_run: DryRun = False,
    output: Output = "text",
    yes: Yes = False,
) -> None:
    """Create a cluster from the hosts of an inventory, with MaaS on it.

    Run it again to continue after an error, to add a host, or to repair the cluster.
    """
    from maas.commands import bootstrap as command

    if console.json_requested() and not dry_run:
        raise UsageError("--output json requires --dry-run", hint="the JSON document is the plan")
    command.bootstrap(
        inventory,
        directory=bundle,
        source=source,
        values=values or [],
        without=without or [],
        accept_slow_etcd=accept_slow_etcd,
        dry_run=dry_run,
        yes=yes,
        become_password=sudo_password(ask=ask_become_pass),
        timings=timings,
    )


@app.command()
def reset(
    *,
    inventory: Inventory = Path("hosts.yaml"),
    ask_become_pass: AskBecomePass = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Uninstall everything `bootstrap` installed on the hosts. Deletes all data volumes."""
    from maas.commands import reset as command

    password = sudo_password(ask=ask_become_pass)
    command.reset(inventory, dry_run=dry_run, yes=yes, become_password=password)


@app.command()
def revoke(
    *,
    node: Annotated[str, typer.Option(help="The node to revoke.")],
    name: Name = "lab",
    ask_become_pass: AskBecomePass = False,
    yes: Yes = False,
) -> None:
    """Revoke the VPN certificate of a node, and disconnect the node."""
    from maas.commands import revoke as command

    password = sudo_password("the control-plane host", ask=ask_become_pass)
    command.revoke(name, node, yes=yes, become_password=password)


@app.command()
def add(
    nodes: Annotated[list[str], typer.Argument(metavar="HOST...", help="Names of the new hosts in the inventory.")],
    *,
    inventory: Inventory = Path("hosts.yaml"),
    bundle: BundleDirectory = None,
    source: Source = "auto",
    values: Values = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Host that is down and is left out this time. Can be repeated."),
    ] = None,
    ask_become_pass: AskBecomePass = False,
    timings: Timings = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Set up new workers of the inventory. The workers that the cluster has are not touched."""
    from maas.commands import add as command

    command.add(
        inventory,
        nodes,
        directory=bundle,
        source=source,
        values=values or [],
        without=without or [],
        dry_run=dry_run,
        yes=yes,
        become_password=sudo_password(ask=ask_become_pass),
        timings=timings,
    )


@app.command()
def upgrade(
    *,
    to: Annotated[
        str | None, typer.Option(help="The version, such as 1.40 or 1.40.2. Default: that of the bundle.")
    ] = None,
    inventory: Inventory = Path("hosts.yaml"),
    bundle: BundleDirectory = None,
    source: Source = "auto",
    values: Values = None,
    soak: Annotated[float, typer.Option(help="Seconds to watch the cluster after the first worker.", min=0)] = 60,
    drain_timeout: Annotated[float, typer.Option(help="Seconds that the drain of a node may take.", min=1)] = 300,
    without_backup: Annotated[
        bool, typer.Option("--without-backup", help="Upgrade without a new backup of etcd, the only way back.")
    ] = False,
    accept_removed_apis: Annotated[
        bool,
        typer.Option("--accept-removed-apis", help="Upgrade although clients request APIs that the new version lacks."),
    ] = False,
    ask_become_pass: AskBecomePass = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Upgrade Kubernetes by one minor version, one host at a time. Run it again to continue.

    Not yet tried on a cluster: use it on one that you can lose.
    """
    from maas.commands import upgrade as command

    command.run(
        inventory,
        to=to,
        directory=bundle,
        source=source,
        values=values or [],
        options=command.Options(
            drain_timeout=drain_timeout,
            soak=soak,
            without_backup=without_backup,
            accept_removed_apis=accept_removed_apis,
        ),
        dry_run=dry_run,
        yes=yes,
        become_password=sudo_password(ask=ask_become_pass),
    )


@app.command()
def remove(
    node: Annotated[str, typer.Argument(help="Name of the host, a worker or a control plane.")],
    *,
    inventory: Inventory = Path("hosts.yaml"),
    drain_timeout: Annotated[float, typer.Option(help="Seconds that the drain may take.", min=1)] = 300,
    lose_data: Annotated[bool, typer.Option(help="Delete volumes that exist on this node alone.")] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Other host that is down and is left out this time. Can be repeated."),
    ] = None,
    ask_become_pass: AskBecomePass = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Remove a host: drain it, take it out of etcd and the VPN, delete its Node object, and reset it. Run it again to continue."""
    from maas.commands import remove as command

    command.remove(
        inventory,
        node,
        timeout=drain_timeout,
        lose_data=lose_data,
        without=without or [],
        dry_run=dry_run,
        yes=yes,
        become_password=sudo_password(ask=ask_become_pass),
    )


@app.command()
def replace(
    node: Annotated[str, typer.Argument(metavar="HOST", help="Name of the dead host.")],
    address: Annotated[str, typer.Argument(help="Address of the new machine, which the inventory must have for it.")],
    *,
    inventory: Inventory = Path("hosts.yaml"),
    bundle: BundleDirectory = None,
    source: Source = "auto",
    lose_data: Annotated[bool, typer.Option(help="Delete volumes that existed on the old machine alone.")] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Other host that is down and is left out this time. Can be repeated."),
    ] = None,
    ask_become_pass: AskBecomePass = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Give the name and the VPN address of a dead host to a new machine, with new keys. Run it again to continue."""
    from maas.commands import replace as command

    command.replace(
        inventory,
        node,
        address,
        directory=bundle,
        source=source,
        lose_data=lose_data,
        without=without or [],
        dry_run=dry_run,
        yes=yes,
        become_password=sudo_password(ask=ask_become_pass),
    )


@app.command()
def doctor(
    *,
    kubeconfig: Annotated[Path | None, typer.Option(help="An administrator's kubeconfig of any cluster.")] = None,
    name: Name = "lab",
    values: Annotated[list[Path] | None, typer.Option(help="Values file of the installation. Can be repeated.")] = None,
    release: Release = None,
    namespace: Annotated[str | None, typer.Option(help="Namespace of a release that is not installed yet.")] = None,
    cis: Annotated[
        bool, typer.Option("--cis", help="Check the hosts and the objects of a cluster of MaaS by the CIS benchmark.")
    ] = False,
    inventory: OwnInventory = None,
    ask_become_pass: AskBecomePass = False,
    output: Output = "text",
) -> None:
    """Check an existing cluster for conflicts before installing MaaS, or with --cis its security. Makes no changes."""
    from maas.cluster import tunnel
    from maas.commands import doctor as command

    if cis:
        if kubeconfig or values or release or namespace:
            raise UsageError("--cis checks a whole cluster of MaaS", hint="use it with --name or --inventory only")
        command.benchmark(name, inventory, become_password=sudo_password(ask=ask_become_pass))
        return
    if inventory or ask_become_pass:
        raise UsageError("--inventory and --ask-become-pass require --cis", hint="other checks do not read hosts")
    admin = kubeconfig or tunnel.connect(name).kubeconfig
    command.doctor(admin, values=values or [], release=release, namespace=namespace)


credentials_app = typer.Typer(invoke_without_command=True)
app.add_typer(credentials_app, name="credentials")

Admin = Annotated[Path | None, typer.Option("--from", help="An administrator's kubeconfig of any cluster.")]
Namespace = Annotated[str | None, typer.Option(help="Limit the access to one namespace.")]


@credentials_app.callback()
def credentials(
    context: typer.Context,
    *,
    name: Name = "lab",
    admin: Admin = None,
    role: Annotated[str, typer.Option(help="Role of the access: viewer, operator or admin.")] = "viewer",
    namespace: Namespace = None,
    ttl: Annotated[str, typer.Option(help="Lifetime, such as 30m or 8h.")] = "8h",
    kubeconfig: Annotated[Path | None, typer.Option(help="Write a kubeconfig to this file (mode 0600).")] = None,
    token: Annotated[bool, typer.Option("--token", help="Print the token.")] = False,
    release: Release = None,
    output: Output = "text",
) -> None:
    """Create a kubeconfig or a short-lived token. Prints no secret unless asked to."""
    from maas.cluster.credentials import Grant
    from maas.commands import credentials as command

    if context.invoked_subcommand is None:
        grant = Grant(role, namespace)
        command.credentials(name, grant, ttl=ttl, kubeconfig=kubeconfig, token=token, admin=admin, release=release)


@credentials_app.command("revoke")
def revoke_credentials(
    *,
    name: Name = "lab",
    admin: Admin = None,
    role: Annotated[str | None, typer.Option(help="Revoke only the tokens of this role.")] = None,
    namespace: Namespace = None,
    release: Release = None,
    output: Output = "text",
) -> None:
    """Revoke all tokens of a role, or all tokens if no role is given."""
    from maas.cluster.credentials import Grant
    from maas.commands import credentials as command

    command.revoke(name, None if role is None else Grant(role, namespace), admin=admin, release=release)


app.add_typer(certificates_app, name="certificates")
app.add_typer(database_app, name="database")
app.add_typer(encrypt_app, name="encrypt")
app.add_typer(etcd_app, name="etcd")
app.command("reboot")(reboot)
app.command("rotate-ca")(rotate_ca)
app.command("export-state")(export_state)
app.command("adopt")(adopt)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def kubectl(context: typer.Context, *, name: Name = "lab") -> None:
    """Run the pinned kubectl on a cluster: `maas kubectl get nodes`."""
    from maas.cluster import tunnel

    raise typer.Exit(tunnel.run("kubectl", name, context.args))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def k9s(context: typer.Context, *, name: Name = "lab") -> None:
    """Look at a cluster in the terminal with the pinned k9s: `maas k9s --readonly`."""
    from maas.cluster import tunnel

    raise typer.Exit(tunnel.run("k9s", name, context.args))


@app.command()
def bundle(
    *,
    directory: Annotated[Path | None, typer.Option(help="Where to create it. Default: in the cache.")] = None,
    source: Source = "auto",
    listing: Annotated[bool, typer.Option("--list", help="Show components and their sources; create nothing.")] = False,
    only: Annotated[
        Path | None, typer.Option("--images", help="Only the images of this list: the images.txt of a release.")
    ] = None,
    releases: Annotated[
        str | None,
        typer.Option(
            "--for",
            help="Releases that hosts run, such as debian-13,ubuntu-24.04, to include packages for. "
            "Default: this machine's.",
        ),
    ] = None,
    values: Values = None,
    kubernetes: Annotated[
        str | None,
        typer.Option(
            help="Minor version of Kubernetes, such as 1.40. Default: that of a bundle in the directory, or the newest."
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """Collect binaries and images of every component in one directory, for hosts without internet access."""
    from maas import os_releases
    from maas.commands import bundle as command

    wanted = None if releases is None else os_releases.parse(releases)
    if listing:
        command.show_plan_for(values or [], source=source, releases=wanted, directory=directory, kubernetes=kubernetes)
    else:
        command.bundle(
            directory,
            images=only,
            source=source,
            values=values or [],
            releases=wanted,
            kubernetes=kubernetes,
            yes=yes,
        )


@app.command()
def image(*, yes: Yes = False) -> None:
    """Build the image of the restaurant application from app/Dockerfile."""
    from maas.commands import bundle as command

    command.image(yes=yes)


@app.command()
def load(
    *,
    name: Name = "lab",
    profile: Annotated[
        Literal["menu", "friday"],
        typer.Option(help="menu: read the menu and order; friday: a full service with kitchen, bills and bookings."),
    ] = "menu",
    rate: Annotated[float, typer.Option(min=0.1, max=500, help="Arrivals per second.")] = 60,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="Duration of the load in seconds.")] = 120,
    orders: Annotated[float, typer.Option(min=0, max=1, help="Share of arrivals that place an order.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the arrivals; the same one repeats them.")] = 1,
    node: Annotated[str | None, typer.Option(help="Node that the load generator runs on.")] = None,
) -> None:
    """Send requests to the restaurant from inside the cluster, and show how it scales."""
    from maas.commands import load as command

    command.load(name, profile=profile, rate=rate, seconds=seconds, orders=orders, seed=seed, node=node)


@app.command()
def queries(*, name: Name = "lab") -> None:
    """Run every query of the dashboards on a cluster, and show those that are empty, broken or slow."""
    from maas.commands import queries as command

    command.queries(name)


@app.command()
def render(
    *,
    values: Values = None,
    kubernetes: Annotated[
        str | None, typer.Option(help="Kubernetes version to render for. Default: the one that bootstrap installs.")
    ] = None,
    helm: Annotated[str, typer.Option(help="Major version of Helm: 3 or 4.")] = "4",
) -> None:
    """Print the manifests of the umbrella chart."""
    from maas.commands import render as command

    command.render(values or [], kubernetes=kubernetes, helm=helm)


@app.command()
def version(
    *,
    wanted: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="Set this version in every file before checking.")
    ] = None,
) -> None:
    """Show the version of charts, package, image and application, and check that all files agree."""
    from maas.commands import release as command

    command.version(wanted)


@app.command()
def changelog(
    *,
    wanted: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="Default: the current version.")] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Show the section and write nothing.")] = False,
) -> None:
    """Move the changelog fragments into a section of CHANGELOG.md."""
    from maas.commands import release as command

    command.changelog(wanted, draft=draft)


@app.command()
def images(
    *,
    mirror: Annotated[str | None, typer.Option(help="Print commands that copy them to this registry instead.")] = None,
) -> None:
    """List every image that the chart can use."""
    from maas.commands import release as command

    command.images(mirror)


@app.command()
def package(
    *,
    directory: Annotated[
        Path | None, typer.Option(help="Output directory. Default: dist/VERSION of the checkout.")
    ] = None,
    in_place: Annotated[bool, typer.Option("--in-place", hidden=True, help="This checkout is the clone.")] = False,
    yes: Yes = False,
) -> None:
    """Build all files of a release from the current commit, reproducibly and without signatures."""
    from maas.release import checkout

    checkout.current()  # an installed package has neither a commit nor the libraries that build a release
    from maas.commands import development

    development.package(directory, in_place=in_place, yes=yes)


@app.command()
def release(
    wanted: Annotated[str, typer.Argument(metavar="VERSION", help="The version to release.")],
    *,
    sign: Annotated[
        list[str] | None, typer.Option(help="gpg:FINGERPRINT, key:FILE or sigstore. Can be repeated.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    publish_: Annotated[
        list[str] | None, typer.Option("--publish", help="A directory or oci://REGISTRY/PATH. Default: do not publish.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Check, build, sign and publish a release from the current commit."""
    from maas.release import checkout

    checkout.current()  # as for `package`
    from maas.commands import development

    development.release(wanted, sign=sign or [], passphrase=passphrase_file, targets=publish_ or [], yes=yes)


@app.command()
def publish(
    directory: Annotated[Path, typer.Argument(metavar="RELEASE", help="The directory that `release` created.")],
    *,
    to: Annotated[list[str], typer.Option(help="A directory or oci://REGISTRY/PATH. Can be repeated.")],
) -> None:
    """Publish a release, or continue an interrupted publication."""
    from maas.commands import release as command

    command.publish(directory, to)


@app.command()
def verify(
    where: Annotated[
        str, typer.Argument(help="A directory, the URL of a chart repository, or oci://.../charts/maas:VERSION.")
    ],
    *,
    key: Annotated[
        list[Path] | None, typer.Option(help="Trusted public key, of OpenPGP or cosign. Can be repeated.")
    ] = None,
    identity: Annotated[str | None, typer.Option(help="Trusted identity of keyless signatures.")] = None,
    issuer: Annotated[str | None, typer.Option(help="OIDC issuer of that identity.")] = None,
    wanted: Annotated[str | None, typer.Option("--version", help="The version. Default: the latest.")] = None,
    output: Output = "text",
) -> None:
    """Verify the signatures and files of a release."""
    from maas.commands import verify as command

    command.verify(where, keys=key or [], identity=identity, issuer=issuer, version=wanted)


@app.command()
def serve(
    directory: Annotated[Path, typer.Argument(metavar="REPOSITORY", help="A directory that `publish` wrote to.")],
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for any free one.")] = 8879,
) -> None:
    """Serve a chart repository on the loopback address of this machine, to test a release."""
    from maas.release import serve as command

    command.serve(directory, port)


@app.command("signing-key")
def signing_key(
    directory: Annotated[Path, typer.Argument(help="Where to write the two files, outside of the checkout.")],
    *,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Create a key pair for `--sign key:FILE` in cosign's format. The private key is encrypted."""
    from maas.release import signers

    if passphrase_file is None:
        raise UsageError("a signing key needs a passphrase", hint="write it to a file and use --passphrase-file")
    private, public = signers.generate(directory, passphrase=passphrase_file)
    console.line(f"private key, keep it secret: {private}\npublic key: {public}")


@app.command()
def lint(
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Only list the findings of terms and spelling in these files and directories."),
    ] = None,
) -> None:
    """Check the charts (helm lint, schemas, generated files) and the texts (terms, spelling, links)."""
    from maas.release import checkout

    checkout.current()  # as for `package`
    from maas.commands import development

    development.lint(texts or [])


@app.command()
def generate() -> None:
    """Regenerate the charts' generated files (CRDs, helpers, lock files)."""
    from maas.release import checkout

    checkout.current()  # as for `package`
    from maas.commands import development

    development.generate()


def _interrupt(number: int, _: object) -> None:
    """Stop the programs that run, then this one, when Ctrl-C, another process or a closed terminal ends it."""
    process.stop_all()
    raise KeyboardInterrupt(number)


def main() -> None:
    """Run the command line; every failure ends in one error message and an exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup does
            signal.signal(number, _interrupt)
    try:
        app(prog_name="maas")
    except MaasError as failure:
        console.error(failure)
        sys.exit(failure.exit_code)
    except KeyboardInterrupt as interrupt:
        with contextlib.suppress(OSError):  # the terminal may be gone
            console.warn("interrupted; run the same command again to continue")
        sys.exit(128 + (interrupt.args[0] if interrupt.args else signal.SIGINT))
    except Exception:  # noqa: BLE001 - users must not see the traceback of a bug
        log = paths.cache() / _CRASH
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc(), encoding="utf-8")
        last = traceback.format_exc().strip().splitlines()[-1]
        console.error(
            MaasError("internal error: this is a bug in maas", context=[last], hint=f"report it with {log}", code="Bug")
        )
        sys.exit(MaasError.exit_code)
