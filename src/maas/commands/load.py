"""`maas load`: send requests to the restaurant and show how it scales."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maas import console
from maas.cluster import tunnel
from maas.loadtest import runner

if TYPE_CHECKING:
    from maas.loadtest.runner import Profile, Sample

_REFERENCES = ("orders", "paid", "bookings")
"""Lists of the report that are shown as their length."""


def load(
    name: str, *, profile: Profile, rate: float, seconds: float, orders: float, seed: int, node: str | None
) -> None:
    """Send a bounded load to the restaurant of a cluster, and show how it scaled.

    Raises:
        ClusterError: The load generator could not run.
    """
    cluster = tunnel.connect(name)
    with console.phase(f"{rate:g} arrivals per second for {seconds:g} s") as step:
        result = runner.run(
            cluster,
            url="http://restaurant.restaurant",
            image=runner.image(cluster),
            profile=profile,
            rate=rate,
            seconds=seconds,
            orders=orders,
            seed=seed,
            node=node,
            step=step,
        )
    rows: list[Sample] = []
    for sample in result.samples:
        if not rows or (sample.ready, sample.desired) != (rows[-1].ready, rows[-1].desired):
            rows.append(sample)
    console.table(
        "scale",
        ("after", "pods Ready", "pods desired", "CPU of request"),
        [(f"{row.second:.0f} s", row.ready, row.desired, f"{row.utilization} %") for row in rows],
    )
    report = {key: value for key, value in result.report.items() if key not in _REFERENCES}
    counts = [(f"accepted {key}" if key == "orders" else key, len(result.report.get(key, ()))) for key in _REFERENCES]
    console.table("requests", ("what", "value"), [*report.items(), *counts])
