"""What shows that a platform scales and heals: bounded load, and the loss of a node."""

from __future__ import annotations
