"""Helm test: the page is served, and a user without a token cannot read the cluster."""

# ruff: noqa: INP001 - a script of the chart
from __future__ import annotations

import os
import ssl
import sys
import urllib.error
import urllib.request

ENGINE, SERVICE = os.environ["ENGINE"], os.environ["SERVICE"]
SCHEME, GUARDED = {
    "headlamp": ("http", "/clusters/main/api/v1/namespaces/kube-system/secrets"),
    "kubernetes-dashboard": ("https", "/api/v1/secret/kube-system"),
}[ENGINE]
# The Kubernetes Dashboard signs its certificate itself.
CONTEXT = ssl._create_unverified_context()  # noqa: S323, SLF001


def ask(path: str) -> tuple[int, str]:
    """Return the status and the body of a response."""
    try:
        with urllib.request.urlopen(f"{SCHEME}://{SERVICE}{path}", timeout=10, context=CONTEXT) as response:  # noqa: S310
            return response.status, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except urllib.error.URLError as error:
        sys.exit(f"request to {SERVICE} failed: {error.reason}")


status, page = ask("/")
if status != 200 or "<html" not in page.lower():  # noqa: PLR2004
    sys.exit(f"the page has status {status}: {page[:200]}")
status, answer = ask(GUARDED)
if status not in (401, 403) and '"items":[{' in answer.replace(" ", ""):
    sys.exit(f"a request without a token returned Secrets (status {status})")
sys.stdout.write(f"{ENGINE} serves its page, and shows no secrets to somebody without a token ({status})\n")
