"""`maas credentials`: short-lived access to a cluster, as a token or a kubeconfig."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import console, paths
from maas.cluster import credentials as access
from maas.cluster import kubeconfig as kubeconfigs
from maas.cluster import tunnel
from maas.cluster.client import Cluster
from maas.errors import UsageError
from maas.helm import RELEASE

if TYPE_CHECKING:
    from pathlib import Path

    from maas.cluster.credentials import Grant


def credentials(
    name: str,
    grant: Grant,
    *,
    ttl: str,
    kubeconfig: Path | None,
    token: bool,
    admin: Path | None = None,
    release: str | None = None,
) -> None:
    """Give access to a cluster in the requested form; without a form, show the forms that there are.

    Args:
        name: A cluster that bootstrap created.
        grant: The role, and where it applies.
        ttl: The lifetime, such as `8h`.
        kubeconfig: The file to write, which must not exist.
        token: Print the token.
        admin: An administrator's kubeconfig of any other cluster with a release, instead of a name.
        release: Name of the release; by default the only one in the cluster.

    Raises:
        UsageError: The lifetime is invalid, both forms are requested, or the file exists.
        ClusterError: The release's cluster roles are missing.
    """
    seconds = access.parse_ttl(ttl)
    if token and kubeconfig is not None:
        raise UsageError("--token and --kubeconfig cannot be used together", hint="choose one of them")
    if kubeconfig is not None and kubeconfig.exists():
        raise UsageError(
            f"{kubeconfig} exists and is not overwritten", hint="choose another file, or delete it", code="FileExists"
        )
    if not token and kubeconfig is None:
        _offer(name, admin)
        return
    cluster = connect(name, admin)
    issued = access.issue(cluster, grant, seconds=seconds, release=release)
    if kubeconfig is not None:
        content = kubeconfigs.with_token(
            cluster.kubeconfig, token=issued.value, cluster=name, user=grant.account(RELEASE)
        )
        kubeconfigs.write(kubeconfig, content)
    if console.json_requested():
        form = {"token": issued.value} if kubeconfig is None else {"kubeconfig": str(kubeconfig)}
        granted = {"role": grant.role, "namespace": grant.namespace, "expires": issued.expires.isoformat()}
        console.document({**granted, **form})
    elif kubeconfig is None:
        console.data(issued.value)
    else:
        console.line(f"{kubeconfig} grants {grant} for {ttl}; it contains a secret and only you can read it")


def revoke(name: str, grant: Grant | None, *, admin: Path | None, release: str | None = None) -> None:
    """Revoke every token of a grant, or all tokens."""
    removed = access.revoke(connect(name, admin), grant, release=release)
    if console.json_requested():
        console.document({"revoked": removed})
    else:
        console.line(f"revoked: {', '.join(removed)}" if removed else "there was nothing to revoke")


def connect(name: str, admin: Path | None) -> Cluster:
    """Return the cluster of a name, or that of an administrator's kubeconfig.

    Raises:
        UsageError: There is no such cluster, or no such file.
    """
    if admin is None:
        return tunnel.connect(name)
    if not admin.is_file():
        raise UsageError(f"no such file: {admin}", hint="check the path of the kubeconfig", code="FileNotFound")
    return Cluster(admin)


def _offer(name: str, admin: Path | None) -> None:
    """Show the forms of access."""
    own = admin or tunnel.state_dir(name) / "kubeconfig"
    where = ("--name", name) if admin is None else ("--from", admin)
    viewer = (*where, "--role", "viewer")
    rows = [
        ("kubectl as administrator, on this machine", f"export KUBECONFIG={own}"),
        ("a kubeconfig for another person", paths.command("credentials", *viewer, "--kubeconfig", "FILE")),
        ("a token for a login page", paths.command("credentials", *viewer, "--token")),
        ("revoke all tokens", paths.command("credentials", "revoke", *where)),
    ]
    if console.json_requested():
        console.document({"kubeconfig": str(own), "commands": [{"for": what, "command": run} for what, run in rows]})
    else:
        console.table(f"access to {name if admin is None else admin}", ("for", "command"), rows)
