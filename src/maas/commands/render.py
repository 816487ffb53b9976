"""`maas render`: the manifests of the umbrella chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

from maas import components, console
from maas.commands import _values
from maas.errors import UsageError
from maas.helm import render as rendering
from maas.helm.client import Major
from maas.helm.render import Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def render(values: Sequence[Path], *, kubernetes: str | None, helm: str) -> None:
    """Print the manifests of the umbrella chart.

    Raises:
        UsageError: A file is missing, or the version of Helm is not supported.
        ChartError: The chart rejects the values, or a rule in them cannot be evaluated.
    """
    if helm not in get_args(Major):
        raise UsageError(f"Helm {helm} is not supported", hint="use --helm 3 or --helm 4")
    if missing := [str(file) for file in values if not file.is_file()]:
        raise UsageError("no such file", context=missing, code="FileNotFound")
    version = kubernetes or components.load().find("kubelet")[0].version
    request = Request(rendering.umbrella(), values=tuple(values), kubernetes=version, helm=cast("Major", helm))
    text = rendering.render_uncached(request)
    _values.load(values)
    console.data(text)
