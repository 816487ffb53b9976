from __future__ import annotations

import subprocess
import sys

import pytest

from maas import console
from maas.errors import UsageError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (3.21, "3.2 s"), (9.96, "10.0 s"), (48.4, "48 s"), (59.4, "59 s"), (125, "2 min 05 s")],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert console.elapsed(seconds) == text


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"from maas import console\n{code}"], capture_output=True, text=True, check=False
    )


def test_progress_goes_to_standard_error_and_data_alone_to_standard_output() -> None:
    done = run("with console.phase('Building') as p: p.progress(2, 7, 'etcd')\nconsole.data('[b]token[/b]')")
    assert done.stdout == "[b]token[/b]\n", "data is not marked up"
    assert "Building" in done.stderr
    assert "2 of 7, etcd" in done.stderr


def test_a_failed_phase_is_marked_and_the_error_is_raised() -> None:
    done = run("with console.phase('Building'): raise SystemExit(3)")
    assert done.returncode == 3
    assert done.stderr.startswith("✗ Building")


def test_text_in_brackets_is_text() -> None:
    done = run("console.line('see [kubernetes]'); console.table('t', ['[a]'], [['[red]x']])")
    assert "[kubernetes]" in done.stderr
    assert "[red]x" in done.stderr


def test_without_a_terminal_a_confirmation_is_an_error_that_names_the_option() -> None:
    assert console.confirm("Continue?", assume_yes=True)
    with pytest.raises(UsageError) as caught:
        console.confirm("Continue?", assume_yes=False)
    assert "--yes" in str(caught.value.hint)


def test_an_error_shows_what_where_why_and_the_next_command() -> None:
    code = "from maas.errors import MaasError\nconsole.error(MaasError('it failed', context=['on [node1]'], hint='look', command='do'))"
    lines = run(code).stderr.splitlines()
    assert [line.strip() for line in lines] == ["error: it failed", "on [node1]", "hint: look", "next: do"]
