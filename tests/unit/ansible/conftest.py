from __future__ import annotations

import functools
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest
from tests.support.ansible_content import CONTENT, load_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

_SHARED = ("maas_record", "maas_bundle", "maas_units")


class ExitError(Exception):
    """What a module answers when it has failed."""


@dataclass
class Host:
    """Runs modules as Ansible would, on a directory in place of a host."""

    home: Path
    monkeypatch: pytest.MonkeyPatch
    commands: list[list[str]] = field(default_factory=list)
    answer: Callable[[list[str]], tuple[int, str, str]] = lambda _: (0, "", "")

    def module(self, name: str) -> ModuleType:
        """A module of hack/ansible/library with the record in this host's directory."""
        for shared in _SHARED:
            qualified = f"ansible.module_utils.{shared}"
            if qualified not in sys.modules:
                load_file(CONTENT / "module_utils" / f"{shared}.py", qualified)
        loaded = load_file(CONTENT / "library" / f"{name}.py", f"maas_library_{name}")
        record = sys.modules["ansible.module_utils.maas_record"]
        units = sys.modules["ansible.module_utils.maas_units"]
        self.monkeypatch.setattr(units, "HOME", self.home)
        self.monkeypatch.setattr(units, "SEEN", self.home / "units.json")
        for constant, value in (("Record", functools.partial(record.Record, home=self.home)), ("HOME", self.home)):
            if hasattr(loaded, constant):
                self.monkeypatch.setattr(loaded, constant, value)
        return loaded

    def run(self, module: ModuleType | str, *, check_mode: bool = False, **given: Any) -> dict[str, Any]:
        """The answer of a module to the given arguments.

        Raises:
            ExitError: The module failed, with its message.
        """
        loaded = self.module(module) if isinstance(module, str) else module
        host = self

        class Module:
            def __init__(self, *, argument_spec: dict[str, Any], supports_check_mode: bool) -> None:
                assert supports_check_mode
                assert set(given) <= set(argument_spec)
                self.params = {name: given.get(name, spec.get("default")) for name, spec in argument_spec.items()}
                self.check_mode = check_mode

            def run_command(self, command: list[str], **options: Any) -> tuple[int, str, str]:
                host.commands.append(command)
                status, out, err = host.answer(command)
                if status and options.get("check_rc"):
                    self.fail_json(msg=err)
                return status, out, err

            def exit_json(self, **answer: Any) -> NoReturn:
                raise SystemExit(answer)

            def fail_json(self, **answer: Any) -> NoReturn:
                raise ExitError(answer["msg"])

        self.monkeypatch.setattr(loaded, "AnsibleModule", Module)
        answers: list[dict[str, Any]] = []
        try:
            loaded.main()
        except SystemExit as ended:
            answers.append(cast("dict[str, Any]", ended.code))
        (answer,) = answers
        return answer


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    home = tmp_path / "var-lib-maas"
    home.mkdir()
    yield Host(home, monkeypatch)
    for name in [name for name in sys.modules if name.startswith("maas_library_")]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def _runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the directories of ssh's sockets, which are made by the way, out of /tmp."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
