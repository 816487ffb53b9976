from __future__ import annotations

import pytest

# So that a failed assertion in there shows its values, as in a test.
pytest.register_assert_rewrite("tests.support")
