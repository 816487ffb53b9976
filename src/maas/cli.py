"""The command `maas`: what it understands, and how failures look. The work is done elsewhere."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal

import typer

from maas import __version__, console, paths
from maas.bundle.sources import Policy
from maas.errors import MaasError, UsageError

app = typer.Typer(
    name="maas",
    help="Bare machines in unlike networks become one private, self-healing, monitored Kubernetes platform.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_CRASH = "crash.log"
_INTERRUPTED = 130
"""The exit status of a program that Ctrl-C ended, by the shells' convention."""

Name = Annotated[str, typer.Option("--name", "-n", help="The lab, or the cluster of an inventory.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Go on without a question.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")]
Source = Annotated[
    Policy,
    typer.Option(help="Where components come from: auto (each component's sources in order), download, pull, build."),
]
BundleDirectory = Annotated[
    Path | None, typer.Option("--bundle", help="A bundle made by `maas bundle`; without it one is made.")
]
PassphraseFile = Annotated[
    Path | None, typer.Option(help="A file with the passphrase of the signing key, readable by you alone.")
]
Values = Annotated[
    list[Path] | None, typer.Option("--values", "-f", help="Values for the chart; may be given several times.")
]


@app.callback(invoke_without_command=True)
def _root(
    *,
    version: Annotated[bool, typer.Option("--version", help="Say the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        console.data(__version__)
        raise typer.Exit


@app.command()
def up(
    *,
    name: Name = "lab",
    bundle: BundleDirectory = None,
    source: Source = "auto",
    values: Values = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """A three-node cluster of throw-away hosts on this machine, with MaaS on it."""
    from maas import bootstrap  # noqa: PLC0415 - what a command needs is imported when it runs: `--help` stays fast

    bootstrap.lab_hosts(name, directory=bundle, source=source, values=values or [], dry_run=dry_run, yes=yes)


@app.command()
def down(*, name: Name = "lab", everything: Annotated[bool, typer.Option("--all", help="Every lab.")] = False) -> None:
    """Remove a lab: what carries its label, its state directory, and what was done for it alone."""
    from maas import bootstrap  # noqa: PLC0415

    bootstrap.remove_lab(None if everything else name)


@app.command()
def status(*, name: Name = "lab") -> None:
    """Hosts, nodes, workloads and addresses of a cluster."""
    from maas import bootstrap  # noqa: PLC0415

    bootstrap.status(name)


@app.command("bootstrap")
def bootstrap_(
    *,
    inventory: Annotated[Path, typer.Option("--inventory", "-i", help="The hosts and their networks.")] = Path(
        "hosts.yaml"
    ),
    bundle: BundleDirectory = None,
    source: Source = "auto",
    values: Values = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A worker that is down, to be left out this time; may be given several times."),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Bare hosts of an inventory become a cluster with MaaS on it. Run it again to go on, to add a host, or to repair."""
    from maas import bootstrap  # noqa: PLC0415

    bootstrap.hosts(
        inventory,
        directory=bundle,
        source=source,
        values=values or [],
        without=without or [],
        dry_run=dry_run,
        yes=yes,
    )


@app.command()
def reset(
    *,
    inventory: Annotated[Path, typer.Option("--inventory", "-i", help="The hosts and their networks.")] = Path(
        "hosts.yaml"
    ),
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Take from the hosts of an inventory what `bootstrap` put there. Their data volumes go too."""
    from maas import bootstrap  # noqa: PLC0415

    bootstrap.reset(inventory, dry_run=dry_run, yes=yes)


@app.command()
def revoke(
    *,
    node: Annotated[str, typer.Option(help="The node that is to have no way in any more.")],
    name: Name = "lab",
    yes: Yes = False,
) -> None:
    """Cut a node off: its VPN certificate is refused from now on, and its connection ended."""
    from maas.cluster import certificates  # noqa: PLC0415

    certificates.revoke(name, node, yes=yes)


@app.command()
def doctor(
    *,
    kubeconfig: Annotated[Path | None, typer.Option(help="An administrator's kubeconfig, for any cluster.")] = None,
    name: Name = "lab",
    values: Annotated[list[Path] | None, typer.Option(help="Values with which it would be installed.")] = None,
) -> None:
    """What a cluster has that an installation has to know of; nothing is changed."""
    from maas.cluster import doctor as examination  # noqa: PLC0415
    from maas.cluster import tunnel  # noqa: PLC0415

    own = kubeconfig or tunnel.connect(name).kubeconfig
    examination.doctor(own, values=values or [])


access_app = typer.Typer(invoke_without_command=True)
app.add_typer(access_app, name="credentials")

Admin = Annotated[Path | None, typer.Option("--from", help="An administrator's kubeconfig, for any cluster.")]
Only = Annotated[str | None, typer.Option(help="The only namespace in which it holds.")]


@access_app.callback()
def credentials(
    context: typer.Context,
    *,
    name: Name = "lab",
    admin: Admin = None,
    role: Annotated[str, typer.Option(help="What it may do: viewer, operator or admin.")] = "viewer",
    namespace: Only = None,
    ttl: Annotated[str, typer.Option(help="How long it lasts, such as 30m or 8h.")] = "8h",
    kubeconfig: Annotated[Path | None, typer.Option(help="Write a kubeconfig to this file (0600).")] = None,
    token: Annotated[bool, typer.Option("--token", help="Print the token.")] = False,
) -> None:
    """A kubeconfig or a short-lived token; nothing secret is printed unless asked for."""
    from maas.cluster import credentials as issue  # noqa: PLC0415

    if context.invoked_subcommand is None:
        grant = issue.Grant(role, namespace)
        issue.credentials(name, grant, ttl=ttl, kubeconfig=kubeconfig, token=token, admin=admin)


@access_app.command("revoke")
def take_back(
    *,
    name: Name = "lab",
    admin: Admin = None,
    role: Annotated[str | None, typer.Option(help="Only what was given of this role.")] = None,
    namespace: Only = None,
) -> None:
    """Take back what was given: every token of a role, or without one all of them."""
    from maas.cluster import credentials as issue  # noqa: PLC0415

    grant = None if role is None else issue.Grant(role, namespace)
    removed = issue.revoke(issue.reached(name, admin), grant)
    console.line(f"taken back: {', '.join(removed)}" if removed else "nothing had been given")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def kubectl(context: typer.Context, *, name: Name = "lab") -> None:
    """The pinned kubectl, on a cluster: `maas kubectl get nodes`."""
    from maas.cluster import tunnel  # noqa: PLC0415

    raise typer.Exit(tunnel.kubectl(name, context.args))


@app.command()
def bundle(
    *,
    directory: Annotated[Path | None, typer.Option(help="Where to make it; without it, in the cache.")] = None,
    source: Source = "auto",
    listing: Annotated[
        bool, typer.Option("--list", help="Show what would be made and from where; make nothing.")
    ] = False,
    only: Annotated[
        Path | None, typer.Option("--images", help="Only the images of this list: the images.txt of a release.")
    ] = None,
    values: Values = None,
    yes: Yes = False,
) -> None:
    """Binaries and images of every component in one directory, ready to be carried to hosts without a network."""
    from maas import bootstrap  # noqa: PLC0415
    from maas.bundle import restaurant_image  # noqa: PLC0415

    if listing:
        restaurant_image.show_plan(source, values=bootstrap.read_values(values or []))
    elif only is not None:
        restaurant_image.make_image_bundle(directory, only, source=source, yes=yes)
    else:
        restaurant_image.make_bundle(directory, source=source, yes=yes, values=bootstrap.read_values(values or []))


@app.command()
def image(*, yes: Yes = False) -> None:
    """The image of the restaurant application, from app/Dockerfile."""
    from maas.bundle import restaurant_image  # noqa: PLC0415

    restaurant_image.show_restaurant(yes=yes)


@app.command()
def load(
    *,
    name: Name = "lab",
    profile: Annotated[
        Literal["menu", "friday"],
        typer.Option(
            help="menu: guests who look and order; friday: a whole service, with kitchen, bills and bookings."
        ),
    ] = "menu",
    rate: Annotated[float, typer.Option(min=0.1, max=500, help="Guests per second.")] = 60,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long they come.")] = 120,
    orders: Annotated[float, typer.Option(min=0, max=1, help="Share of guests who order.")] = 0.2,
    seed: Annotated[int, typer.Option(help="The same seed brings the same guests.")] = 1,
    node: Annotated[str | None, typer.Option(help="The node to send from.")] = None,
) -> None:
    """Send guests to the restaurant from inside the cluster, and watch it scale."""
    from maas.loadtest import runner as guests  # noqa: PLC0415

    guests.report(name, profile=profile, rate=rate, seconds=seconds, orders=orders, seed=seed, node=node)


@app.command()
def queries(*, name: Name = "lab") -> None:
    """Run every query of the dashboards on a cluster: which are empty, broken or slow there?"""
    from maas.dashboards import probe as dashboards  # noqa: PLC0415

    dashboards.report(name)


@app.command(hidden=True)
def pictures(
    *,
    name: Name = "lab",
    minutes: Annotated[float, typer.Option(min=5, help="How far back they look.")] = 30,
    directory: Annotated[Path, typer.Option(help="Where they go.")] = Path("docs/pictures"),
) -> None:
    """Draw dashboards from a cluster's data, for the documentation."""
    from maas.dashboards import draw as drawings  # noqa: PLC0415 - needs matplotlib, a tool of development

    drawings.draw(name, directory=directory, minutes=minutes)


@app.command()
def render(
    *,
    values: Values = None,
    kubernetes: Annotated[str, typer.Option(help="The Kubernetes version to render for.")] = "1.37.2",
    helm: Annotated[str, typer.Option(help="The major version of Helm: 3 or 4.")] = "4",
) -> None:
    """The manifests of the umbrella chart, on standard output."""
    from maas.commands import charts  # noqa: PLC0415

    charts.render(values or [], kubernetes=kubernetes, helm=helm)


@app.command()
def version(
    *,
    wanted: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="Say this one in every place first.")
    ] = None,
) -> None:
    """The one version of charts, package, image and application; all places are checked."""
    from maas.release import version as versions  # noqa: PLC0415

    versions.show(wanted)


@app.command()
def changelog(
    *,
    wanted: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="Without one, the present version.")] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Show it and write nothing.")] = False,
) -> None:
    """Move the fragments of release/changes into CHANGELOG.md, under a version."""
    from maas.release import changelog as changes  # noqa: PLC0415
    from maas.release import version as versions  # noqa: PLC0415

    changes.show(versions.Version.parse(wanted) if wanted else versions.current(paths.content()), draft=draft)


@app.command("images")
def images_(
    *,
    mirror: Annotated[
        str | None, typer.Option(help="Print the commands that copy them to this registry instead.")
    ] = None,
) -> None:
    """Every image that the chart can start."""
    from maas.release import images as started  # noqa: PLC0415

    started.show(mirror)


@app.command()
def package(
    *,
    directory: Annotated[
        Path | None, typer.Option(help="Where the files go; without it, dist/VERSION of the checkout.")
    ] = None,
    in_place: Annotated[bool, typer.Option("--in-place", hidden=True, help="This checkout is the clone.")] = False,
    yes: Yes = False,
) -> None:
    """Everything of a release that can be built again byte for byte, from the commit of this checkout; unsigned."""
    from maas.release import checkout  # noqa: PLC0415

    checkout.here()  # an installed package has no commit, and not the libraries that build one either
    from maas.release import build as packaging  # noqa: PLC0415

    if in_place and directory is not None:
        packaging.in_place(directory, yes=yes)
    else:
        packaging.show(directory, yes=yes)


@app.command()
def release(
    wanted: Annotated[str, typer.Argument(metavar="VERSION", help="The version to release.")],
    *,
    sign: Annotated[
        list[str] | None, typer.Option(help="gpg:FINGERPRINT, key:FILE or sigstore; may be given several times.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    publish_: Annotated[
        list[str] | None, typer.Option("--publish", help="A directory or oci://REGISTRY/PATH; nothing without it.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Look at what stands against a release, build it from the commit alone, sign it, and publish it where asked."""
    from maas.release import checkout  # noqa: PLC0415

    checkout.here()  # as for `package`
    from maas.release import pipeline  # noqa: PLC0415

    pipeline.release(wanted, sign=sign or [], passphrase=passphrase_file, targets=publish_ or [], yes=yes)


@app.command()
def publish(
    directory: Annotated[Path, typer.Argument(metavar="RELEASE", help="The directory that `release` made.")],
    *,
    to: Annotated[list[str], typer.Option(help="A directory or oci://REGISTRY/PATH; may be given several times.")],
) -> None:
    """Publish a release, or go on where an interrupted run stopped."""
    from maas.release import publish as publishing  # noqa: PLC0415

    for target in to:
        publishing.to(directory, target)


@app.command()
def verify(
    where: Annotated[
        str, typer.Argument(help="A directory, the address of a chart repository, or oci://.../charts/maas:VERSION.")
    ],
    *,
    key: Annotated[
        list[Path] | None, typer.Option(help="A public key that you believe: OpenPGP's or cosign's; several times.")
    ] = None,
    identity: Annotated[str | None, typer.Option(help="Who signs without a key.")] = None,
    issuer: Annotated[str | None, typer.Option(help="Who vouches for that identity.")] = None,
    wanted: Annotated[str | None, typer.Option("--version", help="Which version; without it, the newest.")] = None,
) -> None:
    """Is a release what its makers signed, whole and unchanged?"""
    from maas.release import verify as verification  # noqa: PLC0415

    verification.verify(where, keys=key or [], identity=identity, issuer=issuer, version=wanted)


@app.command()
def serve(
    directory: Annotated[Path, typer.Argument(metavar="REPOSITORY", help="What `publish` filled.")],
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes any free one.")] = 8879,
) -> None:
    """A chart repository on this machine alone, to try a release."""
    from maas.release import serve as serving  # noqa: PLC0415

    serving.serve(directory, port)


@app.command("signing-key")
def signing_key(
    directory: Annotated[Path, typer.Argument(help="Where the two files go; outside of the checkout.")],
    *,
    passphrase_file: PassphraseFile = None,
) -> None:
    """A key pair for `--sign key:FILE`, as cosign makes them; the private half is encrypted."""
    from maas.release import signing  # noqa: PLC0415

    if passphrase_file is None:
        raise UsageError(
            "a key needs a passphrase", hint="put it into a file that only you can read: --passphrase-file"
        )
    private, public = signing.generate(directory, passphrase=passphrase_file)
    console.line(f"private, keep it: {private}\npublic, give it away: {public}")


@app.command()
def lint(
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Only list the findings of terms and spelling in these files and directories."),
    ] = None,
) -> None:
    """Check the charts (helm lint, schemas, generated files) and the texts (terms, spelling, links)."""
    from maas.commands import charts  # noqa: PLC0415

    charts.lint(texts or [])


@app.command()
def generate() -> None:
    """Write all of the charts that is generated: CRDs, shared helpers, locks."""
    from maas.commands import charts  # noqa: PLC0415

    charts.generate()


def main() -> None:
    """Run the command line; every failure ends in one clear message and an exit status."""
    try:
        app()
    except MaasError as failure:
        console.error(failure)
        sys.exit(failure.exit_code)
    except KeyboardInterrupt:
        console.warn("interrupted; run the same command again to go on")
        sys.exit(_INTERRUPTED)
    except Exception:  # noqa: BLE001 - a defect of ours must not greet its user with a traceback
        log = paths.cache() / _CRASH
        log.write_text(traceback.format_exc(), encoding="utf-8")
        last = traceback.format_exc().strip().splitlines()[-1]
        defect = "this is a defect of maas"
        console.error(MaasError(defect, context=[last], hint=f"please report it with {log}"))
        sys.exit(MaasError.exit_code)
