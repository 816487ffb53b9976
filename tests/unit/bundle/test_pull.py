from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from maas.bundle import pull as pulling
from maas.components import Pull
from maas.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.bundle.conftest import Opened, Registry

    from maas.console import Phase

pytestmark = pytest.mark.usefixtures("cache")


def test_an_image_is_pulled_by_its_tag_and_archived_under_its_reference(
    registry: Registry, tmp_path: Path, phase: Phase, opened: Callable[[Path], Opened]
) -> None:
    digest = registry.push("tagged:v1", b"first", tmp_path / "push")
    reference = f"{registry.host}/tagged:v1"
    pulling.fetch("tagged", reference, Pull(), crane=registry.crane, phase=phase)
    archive = pulling.find("tagged", reference, Pull())
    assert archive is not None
    image = opened(archive)
    assert image.entry["digest"] == digest
    assert image.entry["annotations"] == {
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": reference,
    }
    assert "content" in image.files


def test_an_image_is_pulled_by_its_digest_if_its_tag_has_moved(
    registry: Registry, tmp_path: Path, phase: Phase, opened: Callable[[Path], Opened]
) -> None:
    digest = registry.push("moved:v1", b"first", tmp_path / "push")
    assert registry.push("moved:v1", b"second", tmp_path / "push") != digest
    source, reference = Pull(digest=digest), f"{registry.host}/moved:v1"
    pulling.fetch("moved", reference, source, crane=registry.crane, phase=phase)
    archive = pulling.find("moved", reference, source)
    assert archive is not None
    image = opened(archive)
    assert image.entry["digest"] == digest
    assert image.entry["annotations"]["io.containerd.image.name"] == reference


def test_a_digest_that_the_registry_does_not_have_is_refused(registry: Registry, tmp_path: Path, phase: Phase) -> None:
    registry.push("absent:v1", b"first", tmp_path / "push")
    source, reference = Pull(digest=f"sha256:{'0' * 64}"), f"{registry.host}/absent:v1"
    with pytest.raises(BundleError, match=f"{registry.host}/absent@sha256:0"):
        pulling.fetch("absent", reference, source, crane=registry.crane, phase=phase)
    assert pulling.find("absent", reference, source) is None


def test_content_that_does_not_match_the_digest_is_refused(
    registry: Registry, tmp_path: Path, cache: Path, phase: Phase
) -> None:
    registry.push("forged:v1", b"genuine", tmp_path / "push")
    reference = f"{registry.host}/forged:v1"
    layer = next(
        path
        for path in registry.disk.rglob("*")
        if path.is_file() and path.read_bytes() == (tmp_path / "push" / "layer.tar.zst").read_bytes()
    )
    layer.write_bytes(bytes(reversed(layer.read_bytes())))
    with pytest.raises(BundleError, match=re.escape(reference)):
        pulling.fetch("forged", reference, Pull(), crane=registry.crane, phase=phase)
    assert not [*(cache / "components").rglob("image.tar")]


def test_a_slow_pull_times_out(registry: Registry, tmp_path: Path, phase: Phase) -> None:
    registry.push("slow:v1", b"slow", tmp_path / "push")
    with pytest.raises(BundleError, match="timed out after"):
        pulling.fetch("slow", f"{registry.host}/slow:v1", Pull(), crane=registry.crane, phase=phase, timeout=0.001)


def test_a_registry_that_does_not_answer_is_reported_before_the_pull() -> None:
    with pytest.raises(BundleError, match="refused"):
        pulling.reach("127.0.0.1:1/probe:v1")
