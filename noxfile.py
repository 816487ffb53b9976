"""What you can do with a checkout: `./nox -l` lists the sessions, `./nox -s NAME -- --help` shows the options of one.

Sessions that need the same packages share one virtual environment, which every checkout of this user shares too. Its name
contains a digest of its requirement files and of the interpreter, so it is created once and never changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import nox

if TYPE_CHECKING:
    from collections.abc import Iterator

nox.needs_version = ">=2026.4"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["tests"]

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maas"
UNUSED = 30 * 86400
"""Seconds after which an environment that no session has used is deleted."""

APT = shutil.which("apt-get")
WITHOUT_E2E = "--without-e2e"

os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")
# A session starts hundreds of processes that import the same modules: compile these once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock; wait while another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def environment(session: nox.Session, *requirements: str) -> None:
    """Run the session's programs in the virtual environment of some requirement files, created if needed."""
    files = [Path(name) for name in requirements]
    content = [sys.version, sys.base_prefix, *(file.read_text(encoding="utf-8") for file in files)]
    digest = hashlib.sha256("\0".join(content).encode()).hexdigest()[:16]
    home = CACHE / "environments" / f"{'-'.join(file.stem for file in files)}-{digest}"
    ready = home / "ready"
    if not ready.exists():
        with locked(home.with_suffix(".lock")):
            if not ready.exists():  # another process may have created it meanwhile
                create(session, home, files)
                delete_unused(home.parent)
    ready.touch()
    path = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    session.env.update({"PATH": path, "PYTHONPATH": "src", "VIRTUAL_ENV": str(home)})


def create(session: nox.Session, home: Path, requirements: list[Path]) -> None:
    """Create a virtual environment with pinned requirements."""
    session.log(f"creating the virtual environment {home} (once)")
    uv = (sys.executable, "-m", "uv")
    session.run(*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home))
    files = [word for file in requirements for word in ("--requirement", str(file))]
    session.run(*uv, "pip", "install", "--quiet", "--python", str(home), "--require-hashes", *files)
    (home / "ready").touch()


def delete_unused(environments: Path) -> None:
    """Delete the virtual environments that no session has used for 30 days."""
    for ready in environments.glob("*/ready"):
        if time.time() - ready.stat().st_mtime > UNUSED:
            shutil.rmtree(ready.parent)


def run(session: nox.Session, program: str, *arguments: str) -> None:
    """Run a program of the session's environment."""
    session.run(f"{session.env['VIRTUAL_ENV']}/bin/{program}", *arguments)


def maas(session: nox.Session, command: str, *, requirements: str = "maas") -> None:
    """Run a command of the tool with its pinned requirements."""
    environment(session, f"requirements/{requirements}.txt")
    run(session, "python", "-m", "maas", command, *session.posargs)


def develop(session: nox.Session) -> None:
    """Use the environment of all checks and tests."""
    environment(session, "requirements/dev.txt", "requirements/nox.txt")


def debian(session: nox.Session, *packages: str) -> None:
    """Install Debian packages that tests start (a database, a browser), as root and where they are missing."""
    if APT is None:
        return
    # A package that was removed, or that another one only mentions, is known, but not installed.
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}\n", *packages]
    states = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    if states == ["installed"] * len(packages):
        return
    if os.geteuid() != 0:
        session.error(f"these tests need the packages {' '.join(packages)}: sudo apt-get install {' '.join(packages)}")
    session.run("apt-get", "update", "--quiet=2")
    install = ("apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", *packages)
    session.run(*install, silent=True, env={"DEBIAN_FRONTEND": "noninteractive"})


def arguments(session: nox.Session) -> list[str]:
    """Return the arguments after `--` that are meant for pytest."""
    return [word for word in session.posargs if word != WITHOUT_E2E]


def pytest(session: nox.Session, *options: str, paths: tuple[str, ...]) -> None:
    """Run a part of the tests, or only the files that the arguments after `--` name."""
    develop(session)
    given = arguments(session)
    named = any(word.startswith("tests/") for word in given)
    run(session, "python", "-m", "pytest", *options, *([] if named else paths), *given)


def e2e_requested(session: nox.Session) -> bool:
    """Whether to run the end-to-end tests; an error where they cannot run and are not left out explicitly."""
    if WITHOUT_E2E in session.posargs:
        return False
    if os.geteuid() != 0 or APT is None:
        session.error(
            "the end-to-end tests need root on Debian or Ubuntu: use sudo, or leave them out: "
            f"./nox -s tests -- {WITHOUT_E2E}"
        )
    return True


@nox.session
def up(session: nox.Session) -> None:
    """Create a three-node cluster of disposable hosts on this machine, with MaaS on it."""
    maas(session, "up")


@nox.session
def down(session: nox.Session) -> None:
    """Remove what `up` created."""
    maas(session, "down")


@nox.session
def status(session: nox.Session) -> None:
    """Show nodes, workloads, certificates and addresses of a cluster."""
    maas(session, "status")


@nox.session
def credentials(session: nox.Session) -> None:
    """Create a kubeconfig or a short-lived token for a cluster."""
    maas(session, "credentials")


@nox.session
def doctor(session: nox.Session) -> None:
    """Check an existing cluster before installing MaaS, or with --cis its security."""
    maas(session, "doctor")


@nox.session
def bootstrap(session: nox.Session) -> None:
    """Create a cluster from the hosts of an inventory, with MaaS on it."""
    maas(session, "bootstrap")


@nox.session
def revoke(session: nox.Session) -> None:
    """Revoke the VPN certificate of a node, and disconnect the node."""
    maas(session, "revoke")


@nox.session
def add(session: nox.Session) -> None:
    """Add new workers of the inventory to a cluster: -- HOST... --inventory hosts.yaml."""
    maas(session, "add")


@nox.session
def replace(session: nox.Session) -> None:
    """Give the name and the address of a dead host to a new machine: -- HOST ADDRESS."""
    maas(session, "replace")


@nox.session
def upgrade(session: nox.Session) -> None:
    """Upgrade Kubernetes by one minor version, one host at a time: -- --inventory hosts.yaml."""
    maas(session, "upgrade")


@nox.session
def remove(session: nox.Session) -> None:
    """Remove a host from a cluster: -- HOST --inventory hosts.yaml."""
    maas(session, "remove")


@nox.session
def certificates(session: nox.Session) -> None:
    """Show when certificates of a cluster expire, or renew them: -- renew."""
    maas(session, "certificates")


@nox.session
def encrypt(session: nox.Session) -> None:
    """Show or rotate the key that encrypts Secrets in etcd: -- status, or -- rotate."""
    maas(session, "encrypt")


@nox.session
def database(session: nox.Session) -> None:
    """Look at the restaurant's database, move its primary, or restart it: -- status, -- switchover, or -- restart."""
    maas(session, "database")


@nox.session
def reboot(session: nox.Session) -> None:
    """Restart the hosts that need it, one at a time: -- HOST..., or all that need a reboot."""
    maas(session, "reboot")


@nox.session(name="rotate-ca")
def rotate_ca(session: nox.Session) -> None:
    """Replace a CA of a cluster, or the key that signs tokens: -- vpn, service-accounts, front-proxy or etcd."""
    maas(session, "rotate-ca")


@nox.session
def etcd(session: nox.Session) -> None:
    """Back up and restore etcd: -- backup, -- list, -- prove --identity KEY, or -- restore --identity KEY."""
    maas(session, "etcd")


@nox.session(name="export-state")
def export_state(session: nox.Session) -> None:
    """Write what this controller knows of a cluster to an encrypted file for another controller."""
    maas(session, "export-state")


@nox.session
def adopt(session: nox.Session) -> None:
    """Take a cluster over from another controller: -- FILE --identity KEY."""
    maas(session, "adopt")


@nox.session
def reset(session: nox.Session) -> None:
    """Uninstall everything `bootstrap` installed on the hosts of an inventory."""
    maas(session, "reset")


@nox.session
def kubectl(session: nox.Session) -> None:
    """Run the pinned kubectl on a cluster: ./nox -s kubectl -- get nodes."""
    maas(session, "kubectl")


@nox.session
def k9s(session: nox.Session) -> None:
    """Look at a cluster in the terminal: ./nox -s k9s -- --readonly."""
    maas(session, "k9s")


@nox.session
def load(session: nox.Session) -> None:
    """Send requests to the restaurant, and show how it scales."""
    maas(session, "load")


@nox.session
def queries(session: nox.Session) -> None:
    """Run every query of the dashboards on a cluster, and show those that are empty, broken or slow."""
    maas(session, "queries")


@nox.session(default=False)
def pictures(session: nox.Session) -> None:
    """Draw the dashboards of docs/ from a cluster's data: -- --name lab --minutes 30."""
    develop(session)
    run(session, "python", "-m", "maas.dashboards.draw", *session.posargs)


@nox.session
def bundle(session: nox.Session) -> None:
    """Collect binaries and images of every component in one directory."""
    maas(session, "bundle")


@nox.session
def image(session: nox.Session) -> None:
    """Build the image of the restaurant application."""
    maas(session, "image")


@nox.session
def version(session: nox.Session) -> None:
    """Show the version of charts, package, image and application; `-- X.Y.Z` sets it."""
    maas(session, "version")


@nox.session
def changelog(session: nox.Session) -> None:
    """Move the changelog fragments into a section of CHANGELOG.md; `-- --draft` only shows it."""
    maas(session, "changelog", requirements="release")


@nox.session
def images(session: nox.Session) -> None:
    """List every image that the chart can use; `-- --mirror REGISTRY` prints commands that copy them."""
    maas(session, "images")


@nox.session
def package(session: nox.Session) -> None:
    """Build all files of a release from the current commit, reproducibly."""
    maas(session, "package", requirements="release")


@nox.session(default=False)
def release(session: nox.Session) -> None:
    """Check, build, sign and publish a release: -- X.Y.Z --sign gpg:FINGERPRINT --publish TARGET."""
    maas(session, "release", requirements="release")


@nox.session(default=False)
def publish(session: nox.Session) -> None:
    """Publish a release, or continue an interrupted publication: -- dist/X.Y.Z --to TARGET."""
    maas(session, "publish")


@nox.session
def verify(session: nox.Session) -> None:
    """Verify the signatures and files of a release: -- DIRECTORY | https://... | oci://... --key FILE."""
    maas(session, "verify")


@nox.session
def serve(session: nox.Session) -> None:
    """Serve a chart repository on this machine, to test a release: -- DIRECTORY."""
    maas(session, "serve")


@nox.session(name="signing-key", default=False)
def signing_key(session: nox.Session) -> None:
    """Create a key pair that signs releases, in cosign's format: -- DIRECTORY --passphrase-file FILE."""
    maas(session, "signing-key", requirements="release")


@nox.session
def render(session: nox.Session) -> None:
    """Print the manifests of the umbrella chart for a values file."""
    maas(session, "render")


@nox.session
def lint(session: nox.Session) -> None:
    """Run formatters, type checks and linters of Python, Ansible, shell, YAML, charts and texts."""
    develop(session)
    if paths := arguments(session):
        run(session, "python", "-m", "maas", "lint", *paths)
        return
    run(session, "ruff", "format", "--check", ".")
    run(session, "ruff", "check", ".")
    run(session, "mypy")
    scripts = sorted(str(path) for top in ("hack", "charts") for path in Path(top).rglob("*.sh"))
    run(session, "shellcheck", "nox", ".ci/run", *scripts)
    run(session, "zizmor", "--offline", "--quiet", ".github/workflows")
    run(session, "python", "-m", "maas", "lint")
    # In its directory, where ansible.cfg sets the path of our own modules.
    session.chdir("hack/ansible")
    session.env["ANSIBLE_CONFIG"] = "ansible.cfg"
    run(session, "ansible-lint", "--profile", "production", "--offline", "--strict")


@nox.session(default=False)
def manifests(session: nox.Session) -> None:
    """Compare the manifests of the charts with those of another revision: `-- REVISION`."""
    develop(session)
    run(session, "python", "-m", "tests.support.manifests", *session.posargs)


@nox.session(default=False)
def generate(session: nox.Session) -> None:
    """Regenerate the files that are generated and committed; `lint` fails when they are out of date."""
    develop(session)
    run(session, "python", "-m", "maas", "generate")


@nox.session(default=False)
def requirements(session: nox.Session) -> None:
    """Pin the requirements of pyproject.toml with hashes, after a change of it; `-- --upgrade` takes newer versions."""
    develop(session)
    header = "# generated by `./nox -s requirements` from pyproject.toml; do not edit\n"
    pins = {
        "maas": [],
        "dev": ["--extra", "keyless", "--group", "lint", "--group", "test", "--group", "release"],
        "release": ["--extra", "keyless", "--group", "release"],
        "nox": ["--group", "nox"],
    }
    for name, groups in pins.items():
        file = Path("requirements") / f"{name}.txt"
        of = [] if name == "nox" else ["pyproject.toml"]
        words = ["pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
        words += ["--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate", *groups]
        run(session, "uv", *words, *of, "--output-file", str(file), *session.posargs)
        file.write_text(header + file.read_text(encoding="utf-8").removeprefix(header), encoding="utf-8")


@nox.session
def unit(session: nox.Session) -> None:
    """Run the unit tests of the Python package; needs neither root nor a container engine."""
    debian(session, "openssh-server")
    pytest(session, "-n", "2", paths=("tests/unit",))


@nox.session
def charts(session: nox.Session) -> None:
    """Test every chart over all profiles and Kubernetes versions, and every alerting and recording rule."""
    debian(session, "chromium")
    pytest(session, "-n", "2", "--dist", "loadgroup", paths=("tests/charts", "tests/rules"))


@nox.session
def app(session: nox.Session) -> None:
    """Check and test the restaurant application, on SQLite and PostgreSQL."""
    debian(session, "postgresql", "chromium")
    session.chdir("app")
    environment(session, "requirements-dev.txt")
    run(session, "ruff", "format", "--check", ".")
    run(session, "ruff", "check", ".")
    run(session, "mypy")
    run(session, "python", "-m", "pytest", "-n", "2", *arguments(session))
    run(session, "python", "-m", "pytest", "-n", "0", "-m", "browser")


@nox.session
def e2e(session: nox.Session) -> None:
    """Run the end-to-end tests on a lab: needs root; installs and starts Docker if needed."""
    if not e2e_requested(session):
        session.warn("the end-to-end tests were left out: no cluster was tested")
        return
    debian(session, "chromium")
    pytest(session, "-m", "e2e", "-s", "--durations=12", paths=("tests/e2e",))


@nox.session(default=False)
def preconditions(session: nox.Session) -> None:
    """Check that the end-to-end tests can run here, before minutes are spent on the others."""
    e2e_requested(session)


@nox.session(requires=["preconditions", "lint", "unit", "charts", "app", "e2e"])
def tests(session: nox.Session) -> None:
    """Run everything: lint, unit, charts, app and end-to-end; a clean commit that passes may be released."""
    session.log("lint, unit, charts and app passed")
    clean = not subprocess.run(["git", "status", "--porcelain"], capture_output=True, check=False).stdout
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    if e2e_requested(session) and clean and commit:
        passed = CACHE / "tested" / commit
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()


@nox.session(default=False)
def proof(session: nox.Session) -> None:
    """Run the acceptance tests, which take hours (loads, faults, cold starts): all, or those of the given files."""
    debian(session, "faketime", "chromium")
    pytest(session, "-s", paths=("tests/acceptance",))
