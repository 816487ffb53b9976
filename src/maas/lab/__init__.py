"""The lab: throw-away hosts on this machine, for those who want to see the platform or develop it."""

from __future__ import annotations

from maas.lab.hosts import HOSTS, Host, LabState, down, kill, labs, plan_engine, prepare, start, status, up

__all__ = ["HOSTS", "Host", "LabState", "down", "kill", "labs", "plan_engine", "prepare", "start", "status", "up"]
