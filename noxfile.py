"""What can be done with a checkout; `./nox -l` lists it, `./nox -s NAME -- --help` explains one session."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2026.4"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.error_on_external_run = True
nox.options.sessions = ["tests"]

APT = shutil.which("apt-get")

os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")
# A run starts hundreds of processes that import the same modules: wherever it runs, they are compiled once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def maas(session: nox.Session, command: str) -> None:
    """Run one command of the tool, with its pinned requirements."""
    session.install("--require-hashes", "--requirement", "requirements/maas.txt")
    session.run("python", "-m", "maas", command, *session.posargs, env={"PYTHONPATH": "src"})


def releasing(session: nox.Session, command: str) -> None:
    """Run one command of the tool that makes releases, with the pinned requirements of that."""
    session.install("--require-hashes", "--requirement", "requirements/release.txt")
    session.run("python", "-m", "maas", command, *session.posargs, env={"PYTHONPATH": "src"})


def develop(session: nox.Session) -> None:
    """Install everything that checks and tests need."""
    session.install(
        "--require-hashes", "--requirement", "requirements/dev.txt", "--requirement", "requirements/nox.txt"
    )
    session.env["PYTHONPATH"] = "src"


def debian(session: nox.Session, *packages: str) -> None:
    """Install Debian packages that tests start (a database, a browser), where they are missing and one may."""
    known = subprocess.run(["dpkg-query", "--show", *packages], capture_output=True, check=False) if APT else None
    if known is None or known.returncode == 0:
        return
    if os.geteuid() != 0:
        session.error(f"these tests need the packages {' '.join(packages)}: sudo apt-get install {' '.join(packages)}")
    session.run("apt-get", "update", "--quiet=2", external=True)
    install = ("apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", *packages)
    session.run(*install, external=True, silent=True, env={"DEBIAN_FRONTEND": "noninteractive"})


def pytest(session: nox.Session, *arguments: str) -> None:
    """Run a part of the tests."""
    develop(session)
    session.run("python", "-m", "pytest", *arguments, *session.posargs)


@nox.session
def up(session: nox.Session) -> None:
    """A three-node cluster of throw-away hosts on this machine, with MaaS on it."""
    maas(session, "up")


@nox.session
def down(session: nox.Session) -> None:
    """Remove what `up` made, and say what was removed."""
    maas(session, "down")


@nox.session
def status(session: nox.Session) -> None:
    """Hosts, nodes, workloads and addresses of a cluster."""
    maas(session, "status")


@nox.session
def credentials(session: nox.Session) -> None:
    """A kubeconfig or a short-lived token for a cluster."""
    maas(session, "credentials")


@nox.session
def doctor(session: nox.Session) -> None:
    """What a cluster has that an installation has to know of."""
    maas(session, "doctor")


@nox.session
def bootstrap(session: nox.Session) -> None:
    """Bare hosts of an inventory become a cluster with MaaS on it."""
    maas(session, "bootstrap")


@nox.session
def revoke(session: nox.Session) -> None:
    """Cut a node off from the VPN of its cluster, at once."""
    maas(session, "revoke")


@nox.session
def reset(session: nox.Session) -> None:
    """Take from the hosts of an inventory what `bootstrap` put there."""
    maas(session, "reset")


@nox.session
def kubectl(session: nox.Session) -> None:
    """The pinned kubectl on a cluster: ./nox -s kubectl -- get nodes."""
    maas(session, "kubectl")


@nox.session
def load(session: nox.Session) -> None:
    """Guests for the restaurant, bounded, and how it scales."""
    maas(session, "load")


@nox.session
def queries(session: nox.Session) -> None:
    """Every query of the dashboards on a cluster: which are empty, broken or slow there?"""
    maas(session, "queries")


@nox.session
def bundle(session: nox.Session) -> None:
    """Binaries and images of every component in one directory, ready to be carried."""
    maas(session, "bundle")


@nox.session
def image(session: nox.Session) -> None:
    """The image of the restaurant application."""
    maas(session, "image")


@nox.session
def version(session: nox.Session) -> None:
    """The one version of charts, package, image and application; with `-- X.Y.Z`, say that one everywhere."""
    maas(session, "version")


@nox.session
def changelog(session: nox.Session) -> None:
    """Fragments of changes become a section of CHANGELOG.md: -- X.Y.Z, or -- --draft to look first."""
    releasing(session, "changelog")


@nox.session
def images(session: nox.Session) -> None:
    """Every image that the chart can start, or with `-- --mirror REGISTRY` the commands that copy them."""
    maas(session, "images")


@nox.session
def package(session: nox.Session) -> None:
    """What a release holds, from the commit of this checkout and nothing else, byte for byte the same anywhere."""
    releasing(session, "package")


@nox.session(default=False)
def release(session: nox.Session) -> None:
    """Guards, build, signatures; publishes only where `--publish` says: -- X.Y.Z --sign gpg:FINGERPRINT."""
    releasing(session, "release")


@nox.session(default=False)
def publish(session: nox.Session) -> None:
    """A release goes to a directory or a registry, or goes on where it stopped: -- dist/X.Y.Z --to TARGET."""
    maas(session, "publish")


@nox.session
def verify(session: nox.Session) -> None:
    """Is a release whole, unchanged and signed? -- DIRECTORY | https://... | oci://... --key FILE."""
    maas(session, "verify")


@nox.session
def serve(session: nox.Session) -> None:
    """A chart repository on this machine, to try a release: -- DIRECTORY."""
    maas(session, "serve")


@nox.session(name="signing-key", default=False)
def signing_key(session: nox.Session) -> None:
    """A key pair that signs releases without a network, as cosign makes them: -- DIRECTORY --passphrase-file FILE."""
    releasing(session, "signing-key")


@nox.session
def lint(session: nox.Session) -> None:
    """Formatters, types and linters of Python, Ansible, shell, YAML, charts and texts; `-- PATH` lists words to replace."""
    develop(session)
    if session.posargs:
        session.run("python", "-m", "maas", "lint", *session.posargs)
        return
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    scripts = sorted(str(path) for top in ("hack", "charts") for path in Path(top).rglob("*.sh"))
    session.run("shellcheck", "nox", ".ci/run", *scripts)
    session.run("zizmor", "--offline", "--quiet", ".github/workflows")
    session.run("python", "-m", "maas", "lint")
    # In its directory, where ansible.cfg leads to our own modules.
    session.chdir("hack/ansible")
    session.run(
        "ansible-lint", "--profile", "production", "--offline", "--strict", env={"ANSIBLE_CONFIG": "ansible.cfg"}
    )


@nox.session
def render(session: nox.Session) -> None:
    """The manifests of the umbrella chart for a values file."""
    maas(session, "render")


@nox.session(default=False)
def generate(session: nox.Session) -> None:
    """Write what is generated and committed; `lint` fails when it has drifted."""
    develop(session)
    session.run("python", "-m", "maas", "generate")


@nox.session(default=False)
def requirements(session: nox.Session) -> None:
    """Pin what pyproject.toml names, with hashes and without an index; after a change of it."""
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
        words = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
        words += ["--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate", *groups]
        session.run(*words, *of, "--output-file", str(file), *session.posargs)
        file.write_text(header + file.read_text(encoding="utf-8").removeprefix(header), encoding="utf-8")


@nox.session
def unit(session: nox.Session) -> None:
    """Fast tests of the Python package; needs no root and no engine."""
    pytest(session, "-n", "2", "tests/unit")


@nox.session
def charts(session: nox.Session) -> None:
    """Invariants of every chart over every profile and Kubernetes version; each rule on numbers of its own."""
    pytest(session, "-n", "2", "--dist", "loadgroup", "tests/charts", "tests/rules")


@nox.session
def app(session: nox.Session) -> None:
    """Checks and tests of the restaurant application, on SQLite and PostgreSQL."""
    debian(session, "postgresql", "chromium")
    session.chdir("app")
    session.install("--require-hashes", "--requirement", "requirements-dev.txt")
    session.env["PYTHONPATH"] = "src"
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    session.run("python", "-m", "pytest", "-n", "2", *session.posargs)
    session.run("python", "-m", "pytest", "-n", "0", "-m", "browser")


@nox.session
def e2e(session: nox.Session) -> None:
    """The whole way on real hosts: needs root; installs and starts Docker when it is missing."""
    if os.geteuid() != 0 or APT is None:
        session.warn("LEFT OUT: the end-to-end tests need root on Debian or Ubuntu; nothing of the cluster was tested")
        return
    pytest(session, "-m", "e2e", "-s", "--durations=12", "tests/e2e")


@nox.session(requires=["lint", "unit", "charts", "app", "e2e"], venv_backend="none")
def tests(session: nox.Session) -> None:
    """Everything: lint, unit, charts, app and end-to-end; a clean commit that passes is one that may be released."""
    session.log("lint, unit, charts, app and end-to-end passed")
    clean = not subprocess.run(["git", "status", "--porcelain"], capture_output=True, check=False).stdout
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    whole = os.geteuid() == 0 and APT is not None  # else the end-to-end tests were left out
    if clean and commit and whole:
        passed = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maas" / "tested" / commit
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()


@nox.session(default=False)
def proof(session: nox.Session) -> None:
    """The proofs that take long: loads, faults, cold starts, medians: all, or those of the named files."""
    debian(session, "faketime")
    named = any(Path(argument.split("::")[0]).exists() for argument in session.posargs)
    pytest(session, "-s", *([] if named else ["tests/acceptance"]))
