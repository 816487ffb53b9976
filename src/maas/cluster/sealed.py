"""Archives that age has encrypted: only the owner of a private key can open them, and only on the controller.

Their first file describes them and has the digests of the others. In clear text they are only in a private directory, in memory
where there is enough.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shlex
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict

from maas import files, process
from maas.bundle import tools
from maas.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

_BLOCK = 1 << 20
_ACCESSIBLE = 0o077


class Contents(BaseModel):
    """What an archive says about itself.

    Attributes:
        format: The version of its format.
        files: The sha256 of each file.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: int
    files: dict[str, str]


_T = TypeVar("_T", bound=Contents)


@contextlib.contextmanager
def scratch(needed: int) -> Iterator[Path]:
    """Create a directory that only this user can read, in memory if that has enough room, and delete it at the end.

    Args:
        needed: Bytes that it must be able to hold.

    Raises:
        ClusterError: No directory has enough room.
    """
    candidates = [os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm", tempfile.gettempdir()]  # noqa: S108 - private in it
    rooms = {
        path: shutil.disk_usage(path).free for path in candidates if Path(path).is_absolute() and Path(path).is_dir()
    }
    for path, free in rooms.items():
        if free >= needed:
            with tempfile.TemporaryDirectory(prefix="maas-", dir=path) as name:
                yield Path(name)
            return
    raise ClusterError(
        f"the archive needs {needed >> 20} MiB to be opened, and no directory for temporary files has them",
        context=[f"{path}: {free >> 20} MiB free" for path, free in rooms.items()],
        hint="free some space",
    )


def refuse_identity(identity: Path) -> None:
    """Refuse a file that is no private key of age, or that others can read.

    Raises:
        UsageError: The file is not usable.
    """
    try:
        text = identity.read_text(encoding="utf-8", errors="replace")
        accessible = identity.stat().st_mode & _ACCESSIBLE
    except OSError as error:
        raise UsageError(
            f"cannot read the private key {identity}: {error.strerror}",
            hint="pass the file that age-keygen wrote, with --identity",
            code="FileNotFound",
        ) from error
    if "AGE-SECRET-KEY-" not in text:
        raise UsageError(
            f"{identity} has no private key of age",
            hint="pass the file that age-keygen wrote, with --identity; a key with a passphrase must be decrypted first",
        )
    if accessible:
        raise UsageError(
            f"other users can read the private key {identity}",
            hint="make it private",
            command=f"chmod 600 {shlex.quote(str(identity))}",
        )


def decrypt(file: Path, identity: Path, target: Path, *, code: str, hint: str, command: str | None = None) -> None:
    """Decrypt a file.

    Args:
        file: The encrypted file.
        identity: A file with the private key, in the format of age-keygen.
        target: Where to write the content.
        code: The code of the error if the file is damaged.
        hint: What to do about a damaged file.
        command: The command for it.

    Raises:
        ClusterError: The key is not one of the recipients', or the file is damaged.
    """
    words = [*map(str, (tools.tool("age"), "--decrypt", "--identity", identity, "--output", target, file))]
    done = process.run(words, check=False)
    if done.returncode == 0:
        return
    if "no identity matched" in done.stderr:
        raise ClusterError(
            f"the private key in {identity} is not one that {file.name} is encrypted to",
            hint="use the key of one of the recipients when the file was made",
            code="WrongKey",
        )
    lines = [line.removeprefix("age: ").removeprefix("error: ") for line in done.stderr.strip().splitlines()]
    raise ClusterError(
        f"{file.name} is truncated or damaged: it cannot be decrypted",
        context=[line for line in lines if not line.startswith("report unexpected")],
        hint=hint,
        command=command,
        code=code,
    )


def encrypt(source: Path, target: Path, recipients: Sequence[str]) -> None:
    """Encrypt a file for the owners of private keys.

    Args:
        source: The file.
        target: The encrypted file, which only this user can read.
        recipients: The public keys of age.

    Raises:
        UsageError: One of them is no public key.
    """
    tool = str(tools.tool("age"))
    options = [word for recipient in recipients for word in ("--recipient", recipient)]
    with files.replacing(target, mode=0o600) as fresh:
        # age refuses to overwrite what it did not create, but not to write to a pipe.
        words = ["sh", "-c", 'exec "$@" > "$0"', str(fresh), tool, "--encrypt", *options, str(source)]
        done = process.run(words, check=False)
        if done.returncode != 0:
            lines = [line.removeprefix("age: ").removeprefix("error: ") for line in done.stderr.strip().splitlines()]
            raise UsageError(
                f"cannot encrypt the archive: {lines[0] if lines else f'age exited with status {done.returncode}'}",
                hint="pass public keys as `age-keygen` prints them: age1...",
            )


def pack(archive: Path, described: Contents, contents: Mapping[str, Path], *, first: str) -> None:
    """Write files to an archive.

    Args:
        archive: The archive in clear text.
        described: What it says about itself, with the digests of the files.
        contents: The files by their names in the archive.
        first: The name of the description in the archive.
    """
    head = described.model_dump_json(indent=1).encode()
    with tarfile.open(archive, mode="w:gz") as tar:
        entry = tarfile.TarInfo(first)
        entry.size = len(head)
        tar.addfile(entry, io.BytesIO(head))
        for name, path in contents.items():
            tar.add(path, arcname=name, recursive=False)


def unpack(archive: Path, target: Path, model: type[_T], *, first: str, required: Collection[str]) -> _T:
    """Write the files of an archive to a directory, and return what it says about itself.

    Raises:
        ValueError: A file is missing or differs from its digest.
    """
    with tarfile.open(archive, mode="r|gz") as tar:
        members = iter(tar)
        head = next(members, None)
        said = tar.extractfile(head) if head is not None and head.name == first else None
        if said is None:
            raise ValueError("it does not begin with its description")
        description = model.model_validate_json(said.read())
        if description.format != 1:
            raise ValueError(f"its format {description.format} is that of a newer release")
        digests = {}
        for member in members:
            source = tar.extractfile(member) if member.name in description.files else None
            if source is None or ".." in Path(member.name).parts or Path(member.name).is_absolute():
                raise ValueError(f"it has an unexpected file {member.name}")
            path = target / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with path.open("wb") as file:
                while block := source.read(_BLOCK):
                    digest.update(block)
                    file.write(block)
            digests[member.name] = digest.hexdigest()
    if wrong := sorted(name for name, digest in description.files.items() if digests.get(name) != digest):
        raise ValueError(f"{wrong[0]} is missing or differs from its digest")
    if missing := sorted(set(required) - digests.keys()):
        raise ValueError(f"it has no {missing[0]}")
    return description
