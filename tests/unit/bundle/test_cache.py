"""What is kept between runs does not grow without end."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from maas.bundle import cache

if TYPE_CHECKING:
    from pathlib import Path


def test_what_nobody_asked_for_in_a_week_is_forgotten(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.touch()
    new.touch()
    eight_days_ago = time.time() - 8 * 24 * 3600
    os.utime(old, (eight_days_ago, eight_days_ago))
    cache.forget_old(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["new"]
