"""A cluster without access to the internet: one file is transferred, and no packet is sent to any other network."""

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
def isolated() -> Iterator[Callable[[], tuple[int, list[str]]]]:
    """Drop every packet from the lab's networks to another network, while the block runs.

    DNS requests to the machine's own name servers are allowed: a site without internet access has name servers, too.

    Returns:
        A function that returns the number of dropped packets and the last hundred destinations.
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

    def count() -> tuple[int, list[str]]:
        listing = subprocess.run(
            [program, "-t", "raw", "-nvxL", chain], check=True, capture_output=True, text=True
        ).stdout
        found = re.search(r"^\s*(\d+)\s+\d+\s+DROP", listing, re.MULTILINE)
        assert found is not None, listing
        return int(found[1]), re.findall(r"src=(\S+)", Path("/proc/net/xt_recent", chain).read_text())

    try:
        for rule in rules:
            subprocess.run([program, "-t", "raw", *rule], check=True)
        yield count
    finally:
        for rule in undo:
            subprocess.run([program, "-t", "raw", *rule], check=False)


def test_a_bundle_of_the_listed_images_has_each_image_or_the_reason_why_not(tmp_path: Path) -> None:
    (tmp_path / "images.txt").write_text(maas("images").stdout)
    maas("bundle", "--images", str(tmp_path / "images.txt"), "--directory", str(tmp_path / "bundle"), "--yes")
    bundle = Bundle.load(tmp_path / "bundle")
    bundle.verify()
    held = {item.reference for item in bundle.images}
    unavailable = {components.load().image(entry.name).reference for entry in bundle.manifest.unavailable}
    assert set(images.references()) - held == unavailable
    assert held
    assert {item.kind for item in bundle.items} == {"image"}


def test_a_cluster_is_installed_from_one_file_and_sends_nothing_to_other_networks(tmp_path: Path) -> None:
    made, transferred, unpacked = tmp_path / "made", tmp_path / "transferred.tar", tmp_path / "unpacked"
    maas("bundle", "--directory", str(made), "--yes")
    with tarfile.open(transferred, "w") as tar:
        tar.add(made, arcname=".")
    shutil.rmtree(made)
    with tarfile.open(transferred) as tar:
        tar.extractall(unpacked, filter="data")
    Bundle.load(unpacked).verify()
    began = time.monotonic()
    with isolated() as dropped:
        try:
            maas("up", "--name", NAME, "--bundle", str(unpacked), "--yes")
            print(
                f"up without internet access: {time.monotonic() - began:.0f} s, {transferred.stat().st_size / 1e6:.0f} MB transferred"
            )
            time.sleep(60)  # a check for a newer version happens in the first minute
            packets, wanted = dropped()  # before the lab is removed, which restores the machine's rules
        finally:
            maas("down", "--name", NAME)
    print(f"{packets} packets to other networks: {wanted}")
    assert packets == 0
