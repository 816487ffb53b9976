"""Kubeconfig files: the only place that reads and makes them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from maas import files
from maas.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

_FILES = {
    "cluster": {"certificate-authority": "certificate-authority-data"},
    "user": {"client-certificate": "client-certificate-data", "client-key": "client-key-data", "tokenFile": "token"},
}
"""The keys that name a file, with the key that contains the same as data and has precedence."""

_SCHEMES = ("http", "https")
_HOST = r"[^\s.]{1,63}(\.[^\s.]{1,63})*\.?|[0-9a-fA-F]*:[0-9a-fA-F:.]+(%\w+)?"
"""The labels of a name or an IPv4 address, or an IPv6 address."""

_EXEC = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@dataclass(frozen=True)
class Selection:
    """What the current context of a kubeconfig selects.

    Attributes:
        file: The kubeconfig.
        cluster: The entry of the cluster; paths in it are absolute.
        user: The entry of the user; paths in it are absolute. Empty for a context without a user.
    """

    file: Path
    cluster: dict[str, Any]
    user: dict[str, Any]

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self.cluster["server"])

    def document(self) -> dict[str, Any]:
        """Return a kubeconfig with nothing but the selected cluster and user."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "selected", "cluster": self.cluster}],
            "users": [{"name": "selected", "user": self.user}],
            "contexts": [{"name": "selected", "context": {"cluster": "selected", "user": "selected"}}],
            "current-context": "selected",
        }


def invalid(file: Path, problem: str, *, hint: str, command: str | None = None) -> UsageError:
    """Return the error for a kubeconfig that cannot be used."""
    return UsageError(f"invalid kubeconfig {file}: {problem}", hint=hint, command=command, code="InvalidKubeconfig")


def select(file: Path) -> Selection:
    """Return the cluster and user of the current context.

    Raises:
        UsageError: The file is missing or not a valid kubeconfig.
    """
    config = _read(file)
    contexts = _entries(file, config, "context")
    current = config.get("current-context")
    if not current:
        known = f"select one of {', '.join(contexts)}" if contexts else "it has no contexts: get the file again"
        command = f"kubectl config use-context {next(iter(contexts))} --kubeconfig {file}" if contexts else None
        raise invalid(file, "current-context is not set", hint=known, command=command)
    context = _entry(file, contexts, "context", current, "current-context")
    cluster = _entry(file, _entries(file, config, "cluster"), "cluster", context.get("cluster"), f"context {current}")
    user = context.get("user")
    found = _entry(file, _entries(file, config, "user"), "user", user, f"context {current}") if user else {}
    _check_server(file, cluster)
    selection = Selection(file, _with_files(file, "cluster", cluster), _with_files(file, "user", found))
    _check_user(file, selection.user)
    return selection


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
    """Return a kubeconfig for a token, with the server and CA of an administrator's kubeconfig.

    Raises:
        UsageError: The administrator's kubeconfig is missing or not valid.
    """
    server = dict(select(admin).cluster)
    if authority := server.pop("certificate-authority", None):
        # The new file is used elsewhere, where that path does not exist.
        server.setdefault("certificate-authority-data", base64.b64encode(Path(authority).read_bytes()).decode())
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": server}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
    }
    return _dump(config)


def write(file: Path, content: bytes) -> None:
    """Write a kubeconfig that only its owner can read."""
    files.write_private(file, content)


def _read(file: Path) -> dict[str, Any]:
    from ruamel.yaml.error import YAMLError  # most commands read no kubeconfig themselves

    again = "get the file again from the cluster's administrator"
    try:
        config: Any = _load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"no such file: {file}", hint="check the path of the kubeconfig", code="FileNotFound"
        ) from error
    except OSError as error:
        raise invalid(
            file, f"cannot be read: {error.strerror}", hint="pass a file that you can read", command=f"ls -l {file}"
        ) from error
    except UnicodeDecodeError as error:
        raise invalid(file, "not a text file", hint=again) from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise invalid(file, f"not valid YAML{where}", hint=again) from error
    if config is None:
        raise invalid(file, "the file is empty", hint=again)
    if not isinstance(config, dict):
        raise invalid(file, "not a mapping of clusters, users and contexts", hint=again)
    if config.get("kind", "Config") != "Config":
        raise invalid(file, f"its kind is {config['kind']}, not Config", hint="pass a kubeconfig")
    return config


def _entries(file: Path, config: dict[str, Any], what: str) -> dict[str, dict[str, Any]]:
    """Return the clusters, users or contexts of a kubeconfig by name; the first of a name is used, as by kubectl."""
    found: dict[str, dict[str, Any]] = {}
    entries = config.get(f"{what}s") or []
    if not isinstance(entries, list):
        raise invalid(file, f"{what}s is not a list", hint=f"write {what}s as a list of names and {what}s")
    for number, entry in enumerate(entries):
        content = entry.get(what) if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not entry.get("name") or not isinstance(content, dict | None):
            raise invalid(file, f"{what}s[{number}] has no name or no {what}", hint="correct or delete the entry")
        found.setdefault(str(entry["name"]), content or {})
    return found


def _entry(file: Path, entries: dict[str, dict[str, Any]], what: str, name: object, where: str) -> dict[str, Any]:
    """Return the entry that something in the kubeconfig names."""
    known = f"the file has {', '.join(entries)}" if entries else f"the file has no {what}s"
    if not name:
        raise invalid(file, f"{where} names no {what}", hint=f"add one; {known}")
    if str(name) not in entries:
        raise invalid(
            file,
            f'{where} names the {what} "{name}", which is not in the file',
            hint=f"correct the name; {known}",
            command=f"kubectl config view --kubeconfig {file}",
        )
    return entries[str(name)]


def _check_server(file: Path, cluster: dict[str, Any]) -> None:
    for key, example in (("server", "https://HOST:6443"), ("proxy-url", "http://HOST:3128")):
        value = cluster.get(key)
        if not value and key == "proxy-url":
            continue
        try:
            url = urlsplit(str(value or ""))
            good = url.scheme in _SCHEMES and bool(re.fullmatch(_HOST, url.hostname or "")) and url.port != 0
        except ValueError:
            good = False
        if not good:
            shown = f'{key} "{value}" is not an HTTP URL' if value else f"the cluster has no {key}"
            raise invalid(file, shown, hint=f"write it like {example}")


def _with_files(file: Path, what: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry with the absolute paths of its files, which exist."""
    result = dict(entry)
    for key, data in _FILES[what].items():
        if result.get(data):
            result.pop(key, None)
            if data.endswith("-data"):
                _check_data(file, data, result[data])
            continue
        result.pop(data, None)
        if not result.get(key):
            result.pop(key, None)
            continue
        path = (file.parent / str(result[key])).absolute()
        try:
            content = path.read_bytes()
        except (OSError, ValueError) as error:
            raise invalid(
                file,
                f"{key} {path}: {getattr(error, 'strerror', None) or error}",
                hint="copy that file there, or get a kubeconfig that contains its data",
                command=f"kubectl config view --raw --flatten --kubeconfig {file}",
            ) from error
        result[key] = str(path)
        if key == "tokenFile":
            # The client would send the newline at the end of the file too.
            result[data] = content.decode("ascii", errors="replace").strip()
            del result[key]
    return result


def _check_data(file: Path, key: str, value: object) -> None:
    try:
        base64.b64decode("".join(str(value).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(file, f"{key} is not base64", hint="get the file again; the value is damaged") from error


def _check_user(file: Path, user: dict[str, Any]) -> None:
    has = [any(user.get(key) for key in (name, f"{name}-data")) for name in ("client-certificate", "client-key")]
    if has[0] != has[1]:
        missing = "client-key" if has[0] else "client-certificate"
        raise invalid(file, f"the user has no {missing}", hint="a client certificate needs its key: add both")
    token = str(user.get("token") or "")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise invalid(file, "the user's token has characters that no token has", hint="get a new token")
    provider = user.get("auth-provider")
    if provider and (not isinstance(provider, dict) or provider.get("name") != "oidc"):
        name = provider.get("name") if isinstance(provider, dict) else provider
        raise invalid(
            file,
            f"the auth-provider {name} is not supported",
            hint="get a kubeconfig with an exec plugin, as kubectl needs since version 1.26",
        )
    plugin = user.get("exec")
    if plugin is None or user.get("token"):
        return
    command = plugin.get("command") if isinstance(plugin, dict) else None
    if not command or not isinstance(command, str):
        raise invalid(file, "the user's exec plugin has no command", hint="add the command, or get the file again")
    if plugin.get("apiVersion") not in _EXEC:
        raise invalid(
            file,
            f"the apiVersion of the exec plugin is {plugin.get('apiVersion')}",
            hint=f"write apiVersion: {_EXEC[0]}, with a plugin that supports it",
        )
    # As for kubectl, a path with a directory is relative to the kubeconfig.
    program = str((file.parent / command).absolute()) if "/" in command else command
    if shutil.which(program) is None:
        raise UsageError(
            f"the exec plugin of {file} is missing: {command}",
            context=[str(plugin["installHint"])] if plugin.get("installHint") else (),
            hint=f"install {command}, or use a kubeconfig with a token or a client certificate",
            code="CredentialPluginNotFound",
        )


def expires(file: Path) -> datetime | None:
    """Return when the client certificate in a kubeconfig expires; None if it has none or does not exist."""
    from cryptography import x509

    try:
        data = str(_load(file)["users"][0]["user"]["client-certificate-data"])
        return x509.load_pem_x509_certificate(base64.b64decode(data)).not_valid_after_utc
    except (OSError, KeyError, IndexError, TypeError, ValueError):
        return None


def authority(source: Path | str) -> str:
    """Return the sha256 of the CA in a kubeconfig, a file or its text; empty if it has none or does not exist."""
    try:
        data = _load(source)["clusters"][0]["cluster"]["certificate-authority-data"]
        return hashlib.sha256(base64.b64decode(data)).hexdigest()
    except (OSError, KeyError, IndexError, TypeError, ValueError):
        return ""


def _load(source: Path | str) -> dict[str, Any]:
    from ruamel.yaml import YAML  # most commands read no kubeconfig themselves

    loaded: dict[str, Any] = YAML(typ="safe").load(source)
    return loaded


def _dump(config: dict[str, Any]) -> bytes:
    from ruamel.yaml import YAML

    text = io.BytesIO()
    YAML().dump(config, text)
    return text.getvalue()
