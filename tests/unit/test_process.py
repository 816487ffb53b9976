from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maas import process
from maas.errors import ProcessError, ProcessTimeoutError, ProgramMissingError


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


@pytest.mark.parametrize(
    "caller",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "xx_YY.UTF-8"},
        {"LANG": "fr_FR.ISO-8859-1", "LC_ALL": ""},
        {"LC_CTYPE": "C", "LC_MESSAGES": "de_DE.UTF-8", "LANGUAGE": "de", "LC_ALL": ""},
    ],
)
def test_a_program_gets_a_utf_8_locale_that_works_whatever_the_callers_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caller: dict[str, str]
) -> None:
    for name, value in caller.items():
        monkeypatch.setenv(name, value)
    code = (
        "import locale, os, sys; locale.setlocale(locale.LC_ALL, '');"
        "print(locale.getlocale()[1], sys.getfilesystemencoding(), os.environ['LANGUAGE'], '\u00e9\u2713')"
    )
    expected = "UTF-8 utf-8  \u00e9\u2713"
    assert process.run(python(code)).stdout == f"{expected}\n"
    assert list(process.lines(python(code))) == [expected]
    process.start(python(code), log=tmp_path / "log").wait()
    assert (tmp_path / "log").read_text(encoding="utf-8") == f"{expected}\n"


def test_ansible_starts_in_a_locale_that_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    assert process.run([sys.executable, "-P", "-m", "ansible", "playbook", "--version"]).stdout.startswith("ansible")


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


# It starts a program that has a child, as `go build` has compilers, and tells the process ID of that child.
TOOL = """\
import signal, sys
from maas import cli, process
for number in (signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_DFL)  # nohup, or a shell's &, may have made the tests ignore them
sys.argv = ["maas", "version"]
cli.app = lambda **_: [print(line, flush=True) for line in process.lines(["sh", "-c", "sleep 300 & echo $!; wait"])]
cli.main()
"""


def gone(pid: int, *, seconds: float = 20) -> bool:
    """Whether a process ends within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_programs_and_their_children_end_with_the_tool(number: signal.Signals) -> None:
    with subprocess.Popen(python(TOOL), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tool:
        assert tool.stdout is not None
        child = int(tool.stdout.readline())
        tool.send_signal(number)
        status = tool.wait(30)
    assert status == (-signal.SIGKILL if number == signal.SIGKILL else 128 + number)
    assert gone(child)


def test_a_program_that_hangs_is_stopped_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(ProcessTimeoutError):
        process.run(["sh", "-c", f"sleep 300 & echo $! > {tmp_path}/pid; wait"], timeout=1)
    assert gone(int((tmp_path / "pid").read_text()))
