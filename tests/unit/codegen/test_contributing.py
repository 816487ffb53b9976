"""The files that contributors' tools read agree with the tree."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import yaml

from maas import paths

if TYPE_CHECKING:
    from pathlib import Path

ROOT = paths.content()
PAGES = sorted((ROOT / "docs" / "contributing").glob("*.md"))


def test_pre_commit_and_requirements_pin_the_same_ruff() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (revision,) = [repo["rev"] for repo in config["repos"] if repo["repo"].endswith("/ruff-pre-commit")]
    pinned = re.search(r"^ruff==(\S+)", (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert revision == f"v{pinned[1]}"


def test_renovate_finds_every_component_of_github() -> None:
    (manager,) = json.loads((ROOT / "renovate.json").read_text(encoding="utf-8"))["customManagers"]
    file = "hack/build/components.yaml"
    assert any(re.search(pattern.strip("/"), file) for pattern in manager["managerFilePatterns"])
    text = (ROOT / file).read_text(encoding="utf-8")
    (pattern,) = (match.replace("(?<", "(?P<") for match in manager["matchStrings"])  # JavaScript's named groups
    found = {match["depName"]: match["currentValue"] for match in re.finditer(pattern, text)}
    prefix = "https://github.com/"
    entries = yaml.safe_load(text)["components"].values()
    expected = {
        "/".join(entry["home"].removeprefix(prefix).split("/")[:2]): entry["version"]
        for entry in entries
        if entry["home"].startswith(prefix)
    }
    assert found.keys() == expected.keys()


def test_codeowners_names_existing_directories() -> None:
    lines = (ROOT / ".github" / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
    names = [line.split()[0] for line in lines if line and not line.startswith("#")]
    assert [name for name in names if name != "*" and not (ROOT / name.strip("/")).is_dir()] == []


@pytest.mark.parametrize("page", [ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda page: page.name)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    """A walk that leads to a file of yesterday is worse than none. Names in capitals are placeholders."""
    text = page.read_text(encoding="utf-8")
    named = [
        name
        for name in re.findall(r"`([\w.-]+(?:/[\w.-]+)+/?)`", text)
        if not re.search(r"(?<![A-Za-z])[A-Z]+(?![a-z])", name)
    ]
    directories = [ROOT, ROOT / "src" / "maas", ROOT / "charts" / "kube-prometheus"]
    unknown = [name for name in named if not any((directory / name).exists() for directory in directories)]
    assert unknown == []
