from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maas.codegen.links import anchors, broken

if TYPE_CHECKING:
    from pathlib import Path

OTHER = """# Values & *defaults* of `maas`

## Same

## Same

<a id="by-hand"></a>
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "other.md").write_text(OTHER)
    (tmp_path / "docs" / "picture one.svg").write_text("")
    return tmp_path


def test_anchors_are_named_as_github_names_them(root: Path) -> None:
    found = anchors(root / "docs" / "other.md")
    assert found == {"values--defaults-of-maas", "same", "same-1", "by-hand"}


@pytest.mark.parametrize(
    "text",
    [
        "[a](other.md)",
        "[a](other.md#same-1)",
        "[a](#title)",
        "![a](picture%20one.svg)",
        '<img src="other.md">',
        "[a](../docs/)",
        "[a](https://example.org/none.md#none)",
        "`[a](none.md)`",
        "    [a](none.md)",
    ],
)
def test_links_that_lead_somewhere_are_not_reported(root: Path, text: str) -> None:
    page = root / "docs" / "page.md"
    page.write_text(f"# Title\n\n{text}\n")
    assert list(broken(page, root=root)) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[a](none.md)", "none.md does not exist"),
        ("[a][b]\n\n[b]: none.md", "none.md does not exist"),
        ("| a |\n|---|\n| [a](none.md) |", "none.md does not exist"),
        ("[a](other.md#none)", "other.md#none does not exist: other.md has no such heading"),
        ("[a](#none)", "#none does not exist: page.md has no such heading"),
        ("![a](none.svg)", "none.svg does not exist"),
        ('<picture><source srcset="none.svg"></picture>', "none.svg does not exist"),
        ("[a](../../elsewhere.md)", "../../elsewhere.md leads out of the repository"),
    ],
)
def test_a_link_that_leads_nowhere_is_reported_with_its_line(root: Path, text: str, reason: str) -> None:
    page = root / "docs" / "page.md"
    page.write_text(f"# Title\n\n{text}\n")
    ((line, found),) = broken(page, root=root)
    assert (line >= 3, found) == (True, reason)
