"""The checks of hosts: mode and owner of files, flags of programs, configuration of the kubelet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from maas.cluster.cis import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from maas.cluster.cis.catalog import Control, FileCheck, SettingsCheck, Test


class HostState:
    """What a host reported of itself, see _host_script.py.

    Attributes:
        control_plane: Whether it is a control plane.
        address: Its address in the VPN.
    """

    def __init__(self, report: Mapping[str, Any], *, control_plane: bool, address: str) -> None:
        self.control_plane = control_plane
        self.address = address
        self._files: dict[str, list[dict[str, str]]] = report["files"]
        self._programs: dict[str, list[dict[str, str]]] = report["programs"]
        self._providers: list[str] = report["providers"]
        self._kubelet: dict[str, Any] = {}
        for text in report["kubelet"]:
            _merge(self._kubelet, yaml.safe_load(text) or {})

    def problems(self, control: Control) -> Iterator[str]:
        """Yield what contradicts a control on this host; nothing for a control that does not concern it."""
        if control.file is not None and (self.control_plane or control.file.hosts == "all"):
            yield from self._file_problems(control.file)
        if control.settings is not None and (self.control_plane or control.settings.program in catalog.EVERYWHERE):
            yield from self._settings_problems(control.settings)
        if control.providers is not None and self.control_plane:
            first = (self._providers or ["identity"])[0]
            if first not in control.providers:
                yield f"new Secrets are stored with the provider {first}, must be one of {', '.join(control.providers)}"

    def _file_problems(self, check: FileCheck) -> Iterator[str]:
        for pattern in check.paths:
            found = self._files[pattern]
            if not found:
                yield f"{pattern} does not exist"
            for file in found:
                if check.mode is not None and int(file["mode"], 8) & ~int(check.mode, 8):
                    yield f"{file['path']} has mode {file['mode']}, must be {check.mode} or stricter"
                if check.owner is not None and file["owner"] != check.owner:
                    yield f"{file['path']} belongs to {file['owner']}, must belong to {check.owner}"

    def _settings_problems(self, check: SettingsCheck) -> Iterator[str]:
        processes = self._programs[check.program]
        if not processes:
            yield f"{check.program} does not run"
        for flags in processes:
            for test in check.tests:
                value = flags.get(test.flag)
                if value is None and test.field is not None:
                    value = _field(self._kubelet, test.field)
                if wrong := compare(test, value):
                    yield f"{check.program}: {test.field or f'--{test.flag}'} {wrong}"


def compare(test: Test, given: str | None) -> str | None:
    """Return what is wrong with the value of a setting, or None."""
    if test.set is not None:
        return None if (given is not None) == test.set else ("must be set" if test.set else "must not be set")
    value = test.default if given is None else given
    now = "is not set" if given is None else f"is {given}"
    items = (value or "").split(",")
    number = int(value) if value and value.isdigit() else 0
    expected = {
        "must be": (test.equals, value == test.equals),
        "must include": (test.includes, test.includes in items),
        "must not include": (test.excludes, test.excludes not in items),
        "must be at least": (test.minimum, number >= (test.minimum or 0)),
    }
    return next(
        (f"{now}, {verb} {what}" for verb, (what, holds) in expected.items() if what is not None and not holds), None
    )


def _field(configuration: Mapping[str, Any], path: str) -> str | None:
    found: Any = configuration
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if found is None:
        return None
    return str(found).lower() if isinstance(found, bool) else str(found)


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
