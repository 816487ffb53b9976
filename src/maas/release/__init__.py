"""From a clean commit to artifacts that anyone can rebuild and verify, and to repositories that they are consumed from."""

from __future__ import annotations
