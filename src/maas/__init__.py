"""MaaS turns bare machines in different networks into one private, monitored Kubernetes platform."""

from __future__ import annotations

__version__ = "0.1.0"
