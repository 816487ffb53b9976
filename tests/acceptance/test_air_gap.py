"""From a release to a cluster without any way out: one file is carried, and no packet tries to leave."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.labs import maas

from maas import components
from maas.bundle import Bundle
from maas.lab import networks
from maas.release import images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
NAME = "airgap"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400)]


@contextlib.contextmanager
def no_way_out() -> Iterator[Callable[[], tuple[int, list[str]]]]:
    """Drop what comes from the lab's networks and is for none of them, nor for a group within them; tells how many packets
    that were, and where the last hundred wanted to go. Hosts may ask the name server that they were given: a place without
    a way out has one too.
    """
    program = shutil.which("iptables") or "/usr/sbin/iptables"
    chain = "MAAS-AIR-GAP"
    inside = [str(pool) for pool in networks.POOLS]
    stay = [*inside, "224.0.0.0/4", "255.255.255.255/32"]
    rules = [["-N", chain], *(["-A", chain, "-d", pool, "-j", "RETURN"] for pool in stay)]
    given = re.findall(r"^nameserver ([\d.]+)$", Path("/etc/resolv.conf").read_text(), re.MULTILINE)
    rules += [["-A", chain, "-d", server, "-p", "udp", "--dport", "53", "-j", "RETURN"] for server in given]
    rules += [["-A", chain, "-m", "recent", "--name", chain, "--rdest", "--set"], ["-A", chain, "-j", "DROP"]]
    rules += [["-I", "PREROUTING", "-s", pool, "-j", chain] for pool in inside]
    undo = [["-D", "PREROUTING", "-s", pool, "-j", chain] for pool in inside] + [["-F", chain], ["-X", chain]]

    def tried() -> tuple[int, list[str]]:
        said = subprocess.run([program, "-t", "raw", "-nvxL", chain], check=True, capture_output=True, text=True).stdout
        found = re.search(r"^\s*(\d+)\s+\d+\s+DROP", said, re.MULTILINE)
        assert found is not None, said
        return int(found[1]), re.findall(r"src=(\S+)", Path("/proc/net/xt_recent", chain).read_text())

    try:
        for rule in rules:
            subprocess.run([program, "-t", "raw", *rule], check=True)
        yield tried
    finally:
        for rule in undo:
            subprocess.run([program, "-t", "raw", *rule], check=False)


def test_a_bundle_of_the_listed_images_holds_each_or_says_why_not(tmp_path: Path) -> None:
    (tmp_path / "images.txt").write_text(maas("images").stdout)
    maas("bundle", "--images", str(tmp_path / "images.txt"), "--directory", str(tmp_path / "bundle"), "--yes")
    bundle = Bundle.load(tmp_path / "bundle")
    bundle.verify()
    held = {item.reference for item in bundle.images}
    unavailable = {components.load().image(entry.name).reference for entry in bundle.manifest.unavailable}
    assert set(images.references()) - held == unavailable
    assert held
    assert {item.kind for item in bundle.items} == {"image"}


def test_one_file_makes_a_cluster_whose_hosts_never_try_to_leave(tmp_path: Path) -> None:
    made, carried, unpacked = tmp_path / "made", tmp_path / "carried.tar", tmp_path / "unpacked"
    maas("bundle", "--directory", str(made), "--yes")
    with tarfile.open(carried, "w") as tar:
        tar.add(made, arcname=".")
    shutil.rmtree(made)
    with tarfile.open(carried) as tar:
        tar.extractall(unpacked, filter="data")
    Bundle.load(unpacked).verify()
    began = time.monotonic()
    with no_way_out() as tried:
        try:
            maas("up", "--name", NAME, "--bundle", str(unpacked), "--yes")
            print(
                f"up without a way out: {time.monotonic() - began:.0f} s, {carried.stat().st_size / 1e6:.0f} MB carried"
            )
            time.sleep(60)  # what looks for a newer version of itself, does it in the first minute
            packets, wanted = tried()  # before the end of the lab, which puts the machine's rules back
        finally:
            maas("down", "--name", NAME)
    print(f"packets that tried to leave: {packets}, to {wanted}")
    assert packets == 0
