"""Releases: built from a clean commit so that anyone can rebuild and verify them, and published to repositories."""

from __future__ import annotations
