from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.rule_tests import FILES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=FILES, ids=lambda file: str(file.stem.removesuffix("_test")))
def file(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found
