"""An API server with its etcd that reads an EncryptionConfiguration, without nodes and controllers."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import urllib.request
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tests.support import control_plane as programs

from maas.cluster import encryption
from maas.cluster.client import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class EncryptingServer:
    """An API server that is restarted whenever its keys change: by itself it would look for a change every minute.

    Attributes:
        directory: Where the programs write.
        written: The configurations that it was started with.
    """

    directory: Path
    written: list[str] = field(default_factory=list)
    _etcd: int = field(default_factory=programs.free_port)
    _port: int = field(default_factory=programs.free_port)
    _token: str = field(default_factory=lambda: secrets.token_hex(16))
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @cached_property
    def cluster(self) -> Cluster:
        """A client of the API server as an administrator."""
        address = f"https://127.0.0.1:{self._port}"
        return Cluster(programs.write_kubeconfig(self.directory, address, self._token))

    def write(self, configuration: str) -> None:
        """Restart the API server with a configuration, unless it has it; empty for none."""
        if self.written and self.written[-1] == configuration:
            return
        self._running.close()
        words = programs.api_server_words(self.directory, etcd=self._etcd, port=self._port)
        if configuration:
            file = self.directory / "encryption.yaml"
            file.write_text(configuration, encoding="utf-8")
            words += [f"--encryption-provider-config={file}", "--encryption-provider-config-automatic-reload=true"]
        programs.start_program(self._running, self.directory, programs.program("kube-apiserver"), words)
        programs.wait_answer(f"https://127.0.0.1:{self._port}/readyz", self._token)
        self.written.append(configuration)

    def loaded(self) -> dict[str, str]:
        """Return the digest of the configuration that it has loaded."""
        _, metrics = self.cluster.raw("/metrics")
        return {"master": encryption.loaded_digest(metrics.decode())}

    def stored(self, namespace: str, name: str) -> bytes:
        """Return what etcd has of a Secret."""
        key = base64.b64encode(f"/registry/secrets/{namespace}/{name}".encode()).decode()
        url = f"http://127.0.0.1:{self._etcd}/v3/kv/range"
        request = urllib.request.Request(url, data=json.dumps({"key": key}).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return base64.b64decode(json.load(answer)["kvs"][0]["value"])

    @contextlib.contextmanager
    def run(self, configuration: str) -> Iterator[None]:
        """Run etcd and the API server while the block runs."""
        programs.account_key(self.directory / "sa.key")
        (self.directory / "tokens.csv").write_text(f"{self._token},admin,admin,system:masters\n", encoding="utf-8")
        with contextlib.ExitStack() as running, self._running:
            etcd = programs.program("etcd")
            programs.start_program(running, self.directory, etcd, programs.etcd_words(self.directory, self._etcd))
            self.write(configuration)
            yield
