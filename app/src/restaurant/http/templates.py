"""How templates are compiled."""

from __future__ import annotations

import re

from jinja2.ext import Extension

_INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)


class NoIndentation(Extension):
    """Leaves out the indentation of a template, which a browser does not need; what is inserted stays as it is."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002
        """Return the source without its indentation; lines keep their numbers."""
        return _INDENTATION.sub("", source)
