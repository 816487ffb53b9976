"""Runs on a host, with the standard library only: report the certificates in files, without their keys."""

from __future__ import annotations

import base64
import json
import pathlib
import re
import sys
from typing import Any

MARK = "maas-certificates:"
ROOT = pathlib.Path("/")
PEM = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
DATA = re.compile(r"client-certificate-data: (\S+)")


def inside(text: str) -> list[str]:
    """Return the certificates in a text, which can be a kubeconfig."""
    texts = [text, *(base64.b64decode(word).decode("ascii") for word in DATA.findall(text))]
    return [pem for one in texts for pem in PEM.findall(one)]


def main(parameters: dict[str, Any]) -> None:
    """Print the certificates in the files that patterns match, when each was written, and whether restarts are left."""
    found: list[dict[str, Any]] = []
    for pattern in parameters["patterns"]:
        for path in sorted(ROOT.glob(pattern.lstrip("/"))):
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [{"path": str(path), "written": path.stat().st_mtime, "pem": pem} for pem in inside(text)]
    restarting = (ROOT / parameters["restarting"].lstrip("/")).exists()
    sys.stdout.write(f"{MARK}{json.dumps({'certificates': found, 'restarting': restarting})}\n")
