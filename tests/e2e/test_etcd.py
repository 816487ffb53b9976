"""A backup of etcd of the lab, made by the service on its control plane, can be restored on the controller."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from tests.support.age import key_pair
from tests.support.labs import maas

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.labs import Lab

pytestmark = pytest.mark.e2e

SETTINGS = "/etc/maas/etcd-backup/settings.json"
BACKUPS = "/var/lib/maas/etcd-backups"


def test_a_backup_of_etcd_is_encrypted_and_can_be_restored(lab: Lab, tmp_path: Path) -> None:
    # The lab has no recipients: a second bootstrap, which gives it some, would take longer than this test.
    key = tmp_path / "key"
    settings = {"cluster": lab.name, "host": "master", "kubernetes": "v1", "recipients": [key_pair(key)], "keep": 2}
    assert lab.run("master", "test", "-e", SETTINGS).returncode == 1, "without recipients there are no backups"
    lab.on("master", "sh", "-c", f"cat > {SETTINGS}", stdin=json.dumps(settings))
    try:
        lab.on("master", "systemctl", "start", "maas-etcd-backup.service")
        name = lab.on("master", "ls", BACKUPS).strip()
        assert lab.run("master", "test", "-e", "/run/maas-etcd-backup").returncode == 1, "no clear text is left"
        file = tmp_path / name
        file.write_bytes(base64.b64decode(lab.on("master", "base64", f"{BACKUPS}/{name}")))
    finally:
        lab.on("master", "rm", "-rf", SETTINGS, BACKUPS, "/var/lib/maas/etcd-backup.json")
    done = maas("etcd", "prove", str(file), "--name", lab.name, "--identity", str(key), "--output", "json")
    proof = json.loads(done.stdout)
    assert proof["cluster"] == lab.name
    assert proof["objects"]["nodes"] == 3
    assert proof["encryptedSecrets"] == proof["objects"]["secrets"]
