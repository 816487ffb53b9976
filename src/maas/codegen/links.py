"""Checks that every link between the Markdown files of the repository leads to a file and a heading that exist."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from markdown_it.token import Token

_HTML_TARGET = re.compile(r"\b(?:href|src|srcset)=[\"']([^\"']+)")
_HTML_ANCHOR = re.compile(r"\b(?:id|name)=[\"']([^\"']+)")


def broken(file: Path, *, root: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the reason of each broken link in a Markdown file; external links are not followed.

    Args:
        file: The Markdown file.
        root: The repository, out of which no relative link may lead.
    """
    for line, target in _targets(_tokens(file)):
        url = urlsplit(target)
        if url.scheme or url.netloc:
            continue
        path = (file.parent / unquote(url.path)).resolve() if url.path else file
        if not path.is_relative_to(root.resolve()):
            yield line, f"{target} leads out of the repository"
        elif not path.exists():
            yield line, f"{target} does not exist"
        elif url.fragment and path.suffix == ".md" and unquote(url.fragment) not in anchors(path):
            yield line, f"{target} does not exist: {path.name} has no such heading"


def anchors(file: Path) -> set[str]:
    """Return the anchors of a Markdown file, with the names that GitHub gives to headings."""
    found: set[str] = set()
    tokens = _tokens(file)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            words = "".join(child.content for child in inline.children or () if child.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")
            repeated = sum(1 for name in found if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", name))
            found.add(f"{slug}-{repeated}" if slug in found else slug)
    return found | {anchor for _, html in _html(tokens) for anchor in _HTML_ANCHOR.findall(html)}


def _tokens(file: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(file.read_text(encoding="utf-8"))


def _targets(tokens: list[Token]) -> Iterator[tuple[int, str]]:
    line = 1
    for token in tokens:
        line = token.map[0] + 1 if token.map else line  # cells of a table have no place; their row has
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if target:
                yield line, str(target)
    for line, html in _html(tokens):
        for target in _HTML_TARGET.findall(html):
            yield line, target


def _html(tokens: list[Token]) -> Iterator[tuple[int, str]]:
    for token in tokens:
        line = token.map[0] + 1 if token.map else 1
        if token.type == "html_block":
            yield line, token.content
        for child in token.children or ():
            if child.type == "html_inline":
                yield line, child.content
