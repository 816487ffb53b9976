"""What the umbrella chart costs to render and to store, in numbers."""

from __future__ import annotations

import base64
import gzip
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.charts import HELMS

from maas.bundle import tools
from maas.codegen import values
from maas.helm import render

if TYPE_CHECKING:
    from pathlib import Path

BUDGET_SECONDS = 0.5
"""CPU time of one rendering, which depends little on what else the machine does."""

EVERYTHING = (
    "calico",
    "kube-prometheus.keda",
    "kube-prometheus.nodeExporter.systemd",
    "restaurant.autoscaling.saturation",
)
"""What is disabled by default, and can be enabled together with all that is enabled."""


def release_bytes(manifest: str) -> int:
    """Return about what Helm stores in a Secret for one revision: the umbrella's own files and the manifest."""
    root = render.umbrella()
    own = [root / name for name in ("Chart.yaml", "values.yaml", "values.schema.json")]
    own += sorted(file for name in ("templates", "files") for file in (root / name).iterdir())
    chart = {str(file): base64.b64encode(file.read_bytes()).decode() for file in own}
    packed = gzip.compress(json.dumps({"chart": chart, "manifest": manifest}).encode(), 9)
    return len(base64.b64encode(base64.b64encode(packed)))


@dataclass(frozen=True)
class Rendering:
    """What one chart costs to render, of five renderings: the median time and the maximum of memory.

    Attributes:
        seconds: From the start of Helm to its exit.
        processor: CPU time of that.
        megabytes: Its resident memory.
        manifest: What it wrote.
    """

    seconds: float
    processor: float
    megabytes: float
    manifest: str

    @property
    def objects(self) -> int:
        return len(render.parse(self.manifest))


def rendering(chart: Path, directory: Path, *options: str) -> Rendering:
    """Render a chart five times."""
    argv = [str(tools.tool("helm")), "template", "maas", str(chart), "--kube-version", render.KUBERNETES[-1], *options]
    seconds, processor, megabytes = [], [], []
    output = directory / "manifest.yaml"
    for _ in range(5):
        with output.open("w") as stream:
            began = time.monotonic()
            process = subprocess.Popen(argv, stdout=stream, env={**os.environ, "KUBECONFIG": ""})
            _, status, usage = os.wait4(process.pid, 0)
            seconds.append(time.monotonic() - began)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        processor.append(usage.ru_utime + usage.ru_stime)
        megabytes.append(usage.ru_maxrss / 1024)
    times = (statistics.median(seconds), statistics.median(processor))
    return Rendering(*times, max(megabytes), output.read_text(encoding="utf-8"))


def invariants() -> int:
    """Return the number of tests of rendered profiles, counting each profile, Kubernetes version and Helm."""
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-n", "0"]
    files = [f"tests/charts/test_{name}.py" for name in ("invariants", "rendering", "gitops", "policies")]
    done = subprocess.run([*argv, *files], cwd=render.umbrella(), capture_output=True, text=True, check=True)
    return sum("::" in line for line in done.stdout.splitlines())


def test_the_umbrella_in_numbers(tmp_path: Path) -> None:
    whole = rendering(render.umbrella(), tmp_path, "--set", ",".join(f"{part}.enabled=true" for part in EVERYTHING))
    source = render.umbrella() / "charts" / "kube-prometheus"
    chart = render.copy_with_libraries(source, tmp_path / source.name)
    monitoring = rendering(chart, tmp_path, "--set", "dashboards.engine=none")
    leaves = [leaf for chart in values.charts() if chart.name == "maas" for leaf in chart.tree.leaves()]
    documented = [leaf for leaf in leaves if leaf.description]
    size = release_bytes(whole.manifest)
    renders = len(render.profiles()) * len(render.KUBERNETES) * len(HELMS)
    print()
    print(f"{'':18}{'umbrella':>12}{'monitoring':>12}")
    print(f"{'render time, s':18}{whole.seconds:>12.2f}{monitoring.seconds:>12.2f}")
    print(f"{'of that, CPU, s':18}{whole.processor:>12.2f}{monitoring.processor:>12.2f}")
    print(f"{'render memory, MB':18}{whole.megabytes:>12.0f}{monitoring.megabytes:>12.0f}")
    print(f"{'objects':18}{whole.objects:>12}{monitoring.objects:>12}")
    print(f"manifest          {len(whole.manifest)} bytes")
    print(f"release           {size} bytes of 1048576")
    print(f"values            {len(documented)} of {len(leaves)} documented")
    print(f"invariants        {invariants()} checks")
    profiles = f"{len(render.profiles())} profiles x {len(render.KUBERNETES)} Kubernetes x {len(HELMS)} Helms"
    print(f"renders           {renders} ({profiles})")
    assert documented == leaves
    assert size < 1_048_576 / 2
    assert whole.processor < BUDGET_SECONDS
