"""A real SSH server on loopback, without root, and a configuration of ssh that only the tests use."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SSH = shutil.which("ssh", path=os.defpath + ":/usr/local/bin") or "ssh"
_SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "/usr/sbin/sshd"
USER = getpass.getuser()


def keygen(file: Path, *, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Create a key pair and return the file of the private key."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(file)], check=True)
    return file


def fingerprint(key: Path) -> str:
    """Return the fingerprint of a key, as ssh-keygen prints it."""
    words = ["ssh-keygen", "-l", "-f", f"{key}.pub"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[1]


def public(key: Path) -> str:
    return " ".join(key.with_suffix(".pub").read_text().split()[:2])


class Server:
    """An SSH server.

    Attributes:
        port: Its port on 127.0.0.1 and ::1.
        log: What it wrote.
    """

    def __init__(self, directory: Path, *, authorized: Path, kinds: tuple[str, ...] = ("ed25519",)) -> None:
        directory.mkdir()
        self.log = directory / "log"
        self.keys = {kind: keygen(directory / f"host_{kind}", kind=kind) for kind in kinds}
        (directory / "authorized").write_text(public(authorized) + "\n")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._config = directory / "config"
        self._config.write_text(
            "".join(f"HostKey {key}\n" for key in self.keys.values())
            + f"Port {self.port}\nListenAddress 127.0.0.1\nListenAddress ::1\nAuthorizedKeysFile {directory}/authorized\n"
            "StrictModes no\nPidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin yes\nLogLevel VERBOSE\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # of Debian's package, for privilege separation
        self._process = subprocess.Popen([_SSHD, "-D", "-E", str(self.log), "-f", str(self._config)])
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def replace_key(self, kind: str = "ed25519") -> None:
        """Restart it with another host key, as after a new installation."""
        self.stop()
        for suffix in ("", ".pub"):
            self.keys[kind].with_name(self.keys[kind].name + suffix).unlink()
        keygen(self.keys[kind], kind=kind)
        self.start()

    def logins(self) -> int:
        return self.log.read_text().count("Accepted publickey")


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


def use_configuration(directory: Path, text: str) -> Path:
    """Write a configuration, and a program `ssh` that reads it in place of the user's; return its directory.

    ssh looks for ~/.ssh in the home directory of the password database, which a test cannot change.
    """
    programs = directory / "programs"
    programs.mkdir(exist_ok=True)
    config = directory / "ssh_config"
    config.write_text(text)
    program = programs / "ssh"
    program.write_text(f'#!/bin/sh\nexec {SSH} -F {config} "$@"\n')
    program.chmod(0o755)
    return programs
