"""Kubeconfig files: the only place that makes them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from maas import files

if TYPE_CHECKING:
    from pathlib import Path


def through_tunnel(admin: str, *, port: int, api: str) -> bytes:
    """Return kubeadm's kubeconfig with the server replaced by the local end of a tunnel.

    Args:
        admin: The administrator's kubeconfig as kubeadm wrote it.
        port: The local port of the tunnel.
        api: `address:port` of the API server at its other end.
    """
    config = _load(admin)
    # The API server's certificate is valid for its address in the VPN, wherever the tunnel ends here.
    server = {"server": f"https://127.0.0.1:{port}", "tls-server-name": api.rsplit(":", 1)[0]}
    config["clusters"][0]["cluster"] |= server
    return _dump(config)


def with_token(admin: Path, *, token: str, cluster: str, user: str) -> bytes:
    """Return a kubeconfig for a token, with the server and CA of an administrator's kubeconfig."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": _load(admin)["clusters"][0]["cluster"]}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
    }
    return _dump(config)


def write(file: Path, content: bytes) -> None:
    """Write a kubeconfig that only its owner can read."""
    files.write_private(file, content)


def _load(source: Path | str) -> dict[str, Any]:
    from ruamel.yaml import YAML  # most commands read no kubeconfig themselves

    loaded: dict[str, Any] = YAML(typ="safe").load(source)
    return loaded


def _dump(config: dict[str, Any]) -> bytes:
    from ruamel.yaml import YAML

    text = io.BytesIO()
    YAML().dump(config, text)
    return text.getvalue()
