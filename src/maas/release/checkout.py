"""The checkout that a release is built from."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import yaml

from maas import paths, process
from maas.bundle import cache
from maas.errors import ProcessError, UsageError
from maas.release import version as versions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maas.release.version import Version


@dataclass(frozen=True)
class Checkout:
    """A checkout of a commit.

    Attributes:
        root: Its directory.
        commit: Full hash of the commit.
        epoch: Time of the commit, in seconds since 1970. Everything that is built from it gets this time.
        version: Version in its files.
        home: Address of the project.
    """

    root: Path
    commit: str
    epoch: int
    version: Version
    home: str

    @classmethod
    def read(cls, root: Path) -> Checkout:
        """Return the checkout in a directory.

        Raises:
            UsageError: The directory is not a checkout.
        """
        version = versions.current(root)
        try:
            commit, epoch = git(root, "show", "--no-patch", "--format=%H %ct", "HEAD").split()
        except ProcessError as error:
            raise UsageError(
                f"{root} is not a Git checkout", context=error.context, hint="releases are built from a clone"
            ) from error
        chart = yaml.safe_load((root / "Chart.yaml").read_text(encoding="utf-8"))
        return cls(root, commit, int(epoch), version, str(chart["home"]))

    @property
    def created(self) -> str:
        """Time of the commit as RFC 3339, in UTC."""
        return self.time.strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def time(self) -> datetime:
        """Time of the commit."""
        return datetime.fromtimestamp(self.epoch, UTC)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which programs build the same bytes everywhere."""
        return {"SOURCE_DATE_EPOCH": str(self.epoch), "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}


def current() -> Checkout:
    """Return the checkout that this tool runs from.

    Raises:
        UsageError: The tool is an installed package.
    """
    return Checkout.read(paths.content())


def git(root: Path, *words: str) -> str:
    """Run git in a checkout and return its output, without surrounding white space.

    Raises:
        ProcessError: git failed.
    """
    return process.run(["git", "-C", root, *words]).stdout.strip()


@contextlib.contextmanager
def clone(source: Checkout) -> Iterator[Path]:
    """Yield a clone with the files of the commit and nothing else. It is deleted when the block ends."""
    with cache.scratch() as scratch:
        tree = scratch / "checkout"
        process.run(["git", "clone", "--quiet", "--shared", "--no-checkout", source.root, tree])
        git(tree, "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", "checkout", source.commit)
        yield tree
