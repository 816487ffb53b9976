"""A registry on loopback."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from tests.support.control_plane import free_port

from maas.bundle import tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def registry(directory: Path) -> Iterator[str]:
    """Run a registry with its data in a directory while the block runs; return its host and port."""
    port = free_port()
    words = [str(tools.tool("crane")), "registry", "serve", "--address", f"127.0.0.1:{port}", "--disk", str(directory)]
    running = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait()
