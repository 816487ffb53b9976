"""Gestion Restaurant: the service of one restaurant, from the menu to the daily closing."""

from __future__ import annotations

__version__ = "0.1.0"
