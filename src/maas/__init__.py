"""MaaS: bare machines in unlike networks become one private, self-healing, monitored Kubernetes platform."""

from __future__ import annotations

__version__ = "0.1.0"
