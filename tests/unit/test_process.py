from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from maas import process
from maas.errors import ProcessError, ProcessTimeoutError, ProgramMissingError

if TYPE_CHECKING:
    from pathlib import Path


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_output_and_status_are_returned() -> None:
    done = process.run(python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_an_error_has_the_command_and_the_end_of_its_output() -> None:
    with pytest.raises(ProcessError) as caught:
        process.run(python("import sys; [print(i, file=sys.stderr) for i in range(99)]; sys.exit(7)"))
    assert caught.value.returncode == 7
    assert caught.value.context[-1] == "98"
    assert len(caught.value.context) < 20, "a screen, not the whole log"


def test_secrets_are_hidden_in_results_logs_and_errors(tmp_path: Path) -> None:
    secret, log = "hunter2", tmp_path / "log"
    code = "import sys; print(sys.argv[1]); print(sys.argv[1], file=sys.stderr); sys.exit(int(sys.argv[2]))"
    done = process.run([*python(code), secret, "0"], secrets=[secret], log=log)
    with pytest.raises(ProcessError) as caught:
        process.run([*python(code), secret, "1"], secrets=[secret], log=log)
    shown = [done.stdout, done.stderr, *done.argv, *caught.value.context, caught.value.stderr, log.read_text()]
    assert all(secret not in text for text in shown)
    assert "***" in done.stdout


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(ProgramMissingError, match="no-such-program"):
        process.run(["no-such-program"])


def test_a_program_that_hangs_is_stopped_in_time() -> None:
    began = time.monotonic()
    with pytest.raises(ProcessTimeoutError, match=r"after 0\.3 s"):
        process.run(python("import time; time.sleep(60)"), timeout=0.3)
    assert time.monotonic() - began < 5


def test_standard_input_is_empty_unless_given() -> None:
    code = "import sys; print(repr(sys.stdin.read()))"
    assert process.run(python(code)).stdout == "''\n"
    assert process.run(python(code), input="x").stdout == "'x'\n"


def test_variables_are_added_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    code = "import os; print(os.environ['KEPT'], os.environ['ADDED'])"
    assert process.run(python(code), env={"ADDED": "2"}).stdout == "1 2\n"


def test_lines_come_as_they_are_written_and_a_failure_ends_them(tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    log = tmp_path / "log"
    code = "import sys, time; print('first', flush=True); time.sleep(1); print('last'); sys.exit(2)"
    began = time.monotonic()
    with pytest.raises(ProcessError, match="status 2"):
        seen.extend((line, time.monotonic() - began) for line in process.lines(python(code), log=log))
    assert [line for line, _ in seen] == ["first", "last"]
    assert seen[0][1] < seen[1][1] - 0.5
    assert log.read_text() == "first\nlast\n"
