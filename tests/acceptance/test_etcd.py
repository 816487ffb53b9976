"""Backups of etcd on a lab: made by the timer's service, copied, proven, and restored after a namespace was deleted.

./nox -s proof -- tests/acceptance/test_etcd.py
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML
from tests.support import lab_power, labs
from tests.support.age import key_pair
from tests.support.labs import maas

from maas.cluster import etcd_backups

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.labs import Lab

NAME = "etcd"
SERVICE = "maas-etcd-backup.service"
PRECIOUS = """\
apiVersion: v1
kind: Namespace
metadata: {name: precious}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: recipe, namespace: precious}
data: {soup: onions}
---
apiVersion: v1
kind: Secret
metadata: {name: pin, namespace: precious}
stringData: {pin: "4711"}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with labs.running(NAME) as made:
        yield made


@pytest.fixture(scope="module")
def key(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key, whose public key is a recipient of the lab after a second bootstrap."""
    file = tmp_path_factory.mktemp("keys") / "key"
    public = key_pair(file)
    yaml = YAML()
    inventory = lab.state / "hosts.yaml"
    content = yaml.load(inventory)
    content["backup"] = {"recipients": [public], "keep": 5}
    yaml.dump(content, inventory)
    done = maas("bootstrap", "--inventory", str(inventory), "--yes")
    assert "Backup of master" in done.stderr, "bootstrap makes the first backup and copies it"
    return file


def names(lab: Lab) -> list[str]:
    found = json.loads(maas("etcd", "list", "--name", lab.name, "--output", "json").stdout)
    return [one["name"] for one in found["backups"]]


def test_the_timer_is_active_and_a_backup_is_private_and_leaves_no_clear_text(lab: Lab, key: Path) -> None:
    assert key.exists()
    assert lab.on("master", "systemctl", "is-active", "maas-etcd-backup.timer").strip() == "active"
    lab.on("master", "systemctl", "start", SERVICE)
    modes = lab.on("master", "stat", "--format", "%a %U", "/var/lib/maas/etcd-backups").strip()
    assert modes == "700 root"
    files = lab.on("master", "find", "/var/lib/maas/etcd-backups", "-type", "f", "-printf", "%m %f\n").splitlines()
    assert files
    assert {line.split()[0] for line in files} == {"600"}
    assert lab.run("master", "test", "-e", "/run/maas-etcd-backup").returncode == 1
    assert lab.run("node1", "test", "-e", "/usr/local/bin/age").returncode == 1
    metrics = lab.on("master", "/bin/sh", "-c", "/usr/local/lib/maas/metrics && cat /var/lib/maas/metrics/openvpn.prom")
    assert "\netcd_backup_last_run_failed 0\n" in metrics


def test_a_backup_is_made_copied_and_proven(lab: Lab, key: Path) -> None:
    before = names(lab)
    maas("etcd", "backup", "--name", lab.name)
    after = names(lab)
    assert after[1:] == before[: len(after) - 1]
    began = time.monotonic()
    done = maas("etcd", "prove", "--name", lab.name, "--identity", str(key), "--output", "json")
    proof: dict[str, Any] = json.loads(done.stdout)
    print(
        f"proof: {time.monotonic() - began:.1f} s, {sum(proof['objects'].values())} objects, newest {proof['newest']}"
    )
    assert proof["backup"] == after[0]
    assert proof["objects"]["nodes"] == 3
    assert proof["objects"]["pods"] >= 10
    assert proof["encryptedSecrets"] == proof["objects"]["secrets"]


def test_mistakes_are_refused_and_change_nothing(lab: Lab, key: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    key_pair(other)
    done = maas("etcd", "prove", "--name", lab.name, "--identity", str(other), status=1)
    assert "is not one that" in done.stderr
    backup = etcd_backups.choose(lab.state, None, same=())
    cut = tmp_path / backup.name
    cut.write_bytes(backup.read_bytes()[:-1000])
    done = maas("etcd", "restore", str(cut), "--name", lab.name, "--identity", str(key), "--yes", status=1)
    assert "truncated or damaged" in done.stderr
    done = maas("etcd", "restore", "--name", lab.name, "--identity", str(key), "--dry-run")
    assert "nothing was changed" in done.stderr
    assert "ok" in lab.kubectl("get", "--raw", "/readyz")


def test_a_deleted_namespace_is_there_again_after_a_restore(lab: Lab, key: Path) -> None:
    lab.kubectl("apply", "--filename", "-", stdin=PRECIOUS)
    maas("etcd", "backup", "--name", lab.name)
    revision = int(
        json.loads(lab.kubectl("get", "configmap", "--namespace", "precious", "recipe", "-o", "json"))["metadata"][
            "resourceVersion"
        ]
    )
    lab.kubectl("delete", "namespace", "precious")
    lab.kubectl("create", "namespace", "newer")
    with pytest.raises(ValueError, match="NotFound"):
        lab.kubectl("get", "namespace", "precious")

    began = time.monotonic()
    done = maas("etcd", "restore", "--name", lab.name, "--identity", str(key), "--yes")
    print(f"restore: {time.monotonic() - began:.1f} s")
    assert "etcd is restored" in done.stderr

    assert (
        lab.kubectl("get", "configmap", "--namespace", "precious", "recipe", "-o", "jsonpath={.data.soup}") == "onions"
    )
    assert lab.kubectl("get", "secret", "--namespace", "precious", "pin", "-o", "jsonpath={.data.pin}") == "NDcxMQ=="
    with pytest.raises(ValueError, match="NotFound"):
        lab.kubectl("get", "namespace", "newer")
    changed = json.loads(lab.kubectl("annotate", "configmap", "--namespace", "precious", "recipe", "a=b", "-o", "json"))
    assert int(changed["metadata"]["resourceVersion"]) > revision + 900_000_000, "caches notice that they are outdated"
    assert lab.run("master", "test", "-e", "/run/maas-etcd-restore").returncode == 1
    kept = lab.on("master", "sh", "-c", "ls -d /var/lib/etcd/before-*/member").strip()
    assert kept


def test_another_restore_on_the_host_is_waited_for(lab: Lab, key: Path) -> None:
    lab.on("master", "systemd-run", "--quiet", "--unit", "maas-etcd-restore", "sleep", "300")
    try:
        done = maas("etcd", "restore", "--name", lab.name, "--identity", str(key), "--yes", status=1)
    finally:
        lab.on("master", "systemctl", "stop", "maas-etcd-restore.service")
    assert "another restore of etcd is running on master" in done.stderr
    assert "ok" in lab.kubectl("get", "--raw", "/readyz")


def test_a_restore_that_a_power_failure_interrupts_is_continued(lab: Lab, key: Path) -> None:
    words = ["etcd", "restore", "--name", lab.name, "--identity", str(key), "--yes"]
    with ThreadPoolExecutor(1) as pool:
        interrupted = pool.submit(maas, *words, status=1)
        deadline = time.monotonic() + 60
        while lab.run("master", "test", "-e", "/etc/kubernetes/etcd-restore/etcd.yaml").returncode != 0:
            assert time.monotonic() < deadline, "the restore stops etcd"
            time.sleep(0.2)
        lab_power.kill(lab.name, "master")
        assert "was lost during the restore" in interrupted.result().stderr
    lab_power.start(lab.name, "master")
    assert lab.run("master", "test", "-e", "/run/maas-etcd-restore").returncode == 1, "no clear text is left"
    done = maas(*words)
    assert "continue it" in done.stderr
    assert (
        lab.kubectl("get", "configmap", "--namespace", "precious", "recipe", "-o", "jsonpath={.data.soup}") == "onions"
    )
    assert lab.run("master", "test", "-e", "/etc/kubernetes/etcd-restore").returncode == 1


def test_the_cluster_works_after_the_restore(lab: Lab) -> None:
    lab.kubectl(
        "create",
        "deployment",
        "after",
        "--namespace",
        "precious",
        "--image",
        "k8s.gcr.io/pause:none",
        "--replicas",
        "1",
    )
    deadline = time.monotonic() + 120
    while not lab.kubectl("get", "pods", "--namespace", "precious", "-o", "jsonpath={.items[*].spec.nodeName}"):
        assert time.monotonic() < deadline, "controllers and scheduler work with the restored data"
        time.sleep(1)
    lab.kubectl("delete", "namespace", "precious", "--wait=false")
    maas("bootstrap", "--inventory", str(lab.state / "hosts.yaml"), "--yes")
    status = json.loads(maas("status", "--name", lab.name, "--output", "json").stdout)
    assert status["ready"]
