"""The commit that a release is made from."""

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
class Source:
    """A commit, checked out.

    Attributes:
        root: The checkout.
        commit: Its full name.
        epoch: When it was made, in seconds since 1970: the time of everything that is built from it.
        version: The version that it says.
        home: The project's address.
    """

    root: Path
    commit: str
    epoch: int
    version: Version
    home: str

    @classmethod
    def read(cls, root: Path) -> Source:
        """The commit that a checkout stands on.

        Raises:
            UsageError: It is no checkout.
        """
        version = versions.current(root)
        try:
            commit, epoch = git(root, "show", "--no-patch", "--format=%H %ct", "HEAD").split()
        except ProcessError as error:
            raise UsageError(
                f"{root} is no checkout of a commit", context=error.context, hint="releases are made from a clone"
            ) from error
        chart = yaml.safe_load((root / "Chart.yaml").read_text(encoding="utf-8"))
        return cls(root, commit, int(epoch), version, str(chart["home"]))

    @property
    def created(self) -> str:
        """Its time as RFC 3339 writes it, in UTC."""
        return self.time.strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def time(self) -> datetime:
        """Its time."""
        return datetime.fromtimestamp(self.epoch, UTC)

    @property
    def environment(self) -> dict[str, str]:
        """What makes programs build the same bytes anywhere."""
        return {"SOURCE_DATE_EPOCH": str(self.epoch), "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}


def here() -> Source:
    """The commit that this tool is run from.

    Raises:
        UsageError: It was installed as a package, and has none.
    """
    return Source.read(paths.content())


def git(root: Path, *words: str) -> str:
    """What git says in a checkout, without the white space around it.

    Raises:
        ProcessError: It refuses.
    """
    return process.run(["git", "-C", root, *words]).stdout.strip()


@contextlib.contextmanager
def checkout(source: Source) -> Iterator[Path]:
    """The files of a commit and nothing else, in a directory that goes when the block ends."""
    with cache.scratch() as scratch:
        tree = scratch / "checkout"
        process.run(["git", "clone", "--quiet", "--shared", "--no-checkout", source.root, tree])
        git(tree, "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", "checkout", source.commit)
        yield tree
