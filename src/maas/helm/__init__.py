"""The charts as Helm sees them: the pinned client, rendering, and values files."""

from __future__ import annotations

RELEASE = "maas"
"""The name of the Helm release that the tool installs."""

NAMESPACE = "maas"
"""The namespace of that release."""
