"""What the umbrella costs to render and to keep, in numbers."""

from __future__ import annotations

import base64
import gzip
import json
import resource
import statistics
import time

from maas.charts import render, values
from maas.charts.render import Request

BUDGET_SECONDS = 5.0
"""Of one rendering, on a machine that is busy with other things too."""


def release_bytes(manifest: str) -> int:
    """About what Helm keeps in a Secret for one revision: the umbrella's own files and the manifest."""
    root = render.umbrella()
    own = [root / name for name in ("Chart.yaml", "values.yaml", "values.schema.json")]
    own += sorted((root / "templates").iterdir())
    chart = {str(file): base64.b64encode(file.read_bytes()).decode() for file in own}
    packed = gzip.compress(json.dumps({"chart": chart, "manifest": manifest}).encode(), 9)
    return len(base64.b64encode(base64.b64encode(packed)))


def test_the_umbrella_in_numbers() -> None:
    request = Request(render.umbrella())
    seconds = []
    for _ in range(5):
        began = time.monotonic()
        text = render.render_anew(request)
        seconds.append(time.monotonic() - began)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    leaves = [leaf for chart in values.charts() if chart.name == "maas" for leaf in chart.tree.leaves()]
    documented = [leaf for leaf in leaves if leaf.description]
    print()
    print(f"render time      {statistics.median(seconds):.2f} s (median of 5)")
    print(f"render memory    {memory:.0f} MB at most")
    print(f"objects          {len(render.parse(text))}")
    print(f"manifest         {len(text)} bytes")
    print(f"release          {release_bytes(text)} bytes of 1048576")
    print(f"values           {len(documented)} of {len(leaves)} documented")
    print(f"profiles         {len(render.profiles())} x {len(render.KUBERNETES)} Kubernetes x 2 Helms")
    assert documented == leaves
    assert release_bytes(text) < 1_048_576 / 2
    assert statistics.median(seconds) < BUDGET_SECONDS
