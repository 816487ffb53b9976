"""The charts as Helm sees them: the pinned client, rendering, and values files."""
