from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

    from tests.unit.ansible.conftest import Host

ZRAM = "[Service]\nExecStart=/usr/sbin/zramswap start\n"


@pytest.fixture
def module(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    loaded = host.module("kernel_settings")
    units = tmp_path / "etc-systemd-system"
    units.mkdir()
    # The administrator's own version of the unit.
    (units / "zramswap.service").write_text(ZRAM, encoding="utf-8")
    for name, value in (("UNITS", units), ("MODULES", tmp_path / "modules"), ("SYSCTL", tmp_path / "sysctl")):
        monkeypatch.setattr(loaded, name, value)
    return loaded


def masked(module: Any) -> dict[str, bool]:
    return {path.name: path.is_symlink() and str(path.readlink()) == "/dev/null" for path in module.UNITS.iterdir()}


def test_every_unit_that_enables_swap_at_boot_is_masked_once(host: Host, module: ModuleType) -> None:
    first = host.run(module, swap=False, swap_units=["zramswap.service"])
    assert {"mask swap.target", "mask zramswap.service"} <= set(first["changes"])
    assert masked(module) == {"swap.target": True, "zramswap.service": True}
    again = host.run(module, swap=False, swap_units=["zramswap.service"])
    assert [change for change in again["changes"] if change.startswith("mask")] == []


def test_a_reset_restores_the_units(host: Host, module: Any) -> None:
    host.run(module, swap=False, swap_units=["zramswap.service"])
    record = module.Record()
    for path in module.UNITS.iterdir():
        record.disown(Path(path))
    assert masked(module) == {"zramswap.service": False}
    assert (module.UNITS / "zramswap.service").read_text(encoding="utf-8") == ZRAM


def test_check_mode_and_containers_leave_swap_alone(host: Host, module: ModuleType) -> None:
    host.run(module, swap=True, swap_units=["zramswap.service"])
    host.run(module, check_mode=True, swap=False, swap_units=["zramswap.service"])
    assert masked(module) == {"zramswap.service": False}
