"""The cache does not grow without limit."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from maas.bundle import cache

if TYPE_CHECKING:
    from pathlib import Path


def test_files_that_were_not_used_for_a_week_are_deleted(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.touch()
    new.touch()
    eight_days_ago = time.time() - 8 * 24 * 3600
    os.utime(old, (eight_days_ago, eight_days_ago))
    cache.forget_old(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["new"]
