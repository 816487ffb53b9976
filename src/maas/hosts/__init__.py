"""From an inventory of bare hosts to the nodes of a cluster."""

from __future__ import annotations
