"""The lab: disposable hosts on this machine, to try the platform or to develop it."""

from __future__ import annotations

from maas.lab.hosts import (
    HOSTS,
    Host,
    LabState,
    down,
    is_lab,
    labs,
    memory,
    names,
    plan_engine,
    power_on,
    prepare,
    release_engine,
    status,
    up,
)

__all__ = [
    "HOSTS",
    "Host",
    "LabState",
    "down",
    "is_lab",
    "labs",
    "memory",
    "names",
    "plan_engine",
    "power_on",
    "prepare",
    "release_engine",
    "status",
    "up",
]
