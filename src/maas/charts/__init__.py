"""The charts: how they are rendered, what of them is generated, and what is checked."""
