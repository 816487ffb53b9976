"""An upgrade from the earlier minor version to the newest one on a lab that serves requests, and what it refuses.

./nox -s proof -- tests/acceptance/test_upgrade.py
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML
from tests.support import labs
from tests.support.age import key_pair
from tests.support.labs import maas

from maas import bundle, components
from maas.cluster import upgrade
from maas.commands import bundle as bundle_command
from maas.hosts import journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.labs import Lab

pytestmark = pytest.mark.timeout(7200)

NAME = "upgrade"
EARLIER = next(iter(components.load().earlier))
OLD = f"v{components.for_minor(EARLIER).kubernetes}"
NEW = f"v{components.kubernetes_version()}"
PLANES = ("master", "master2", "master3")
# Requests from a host, each with a new connection, as those of a client that has just started.
PROBE = """\
import json, pathlib, ssl, sys, time, urllib.request
name, url = sys.argv[1:]
context = ssl._create_unverified_context()
requests, failed, longest, since = 0, 0, 0.0, time.monotonic()
while not pathlib.Path("/run/probe.stop").exists():
    requests += 1
    try:
        urllib.request.urlopen(url, timeout=3, context=context).read()
        longest, since = max(longest, time.monotonic() - since), time.monotonic()
    except OSError:
        failed += 1
    text = json.dumps({"requests": requests, "failed": failed, "seconds": round(longest, 1)})
    pathlib.Path(f"/run/probe-{name}.json").write_text(text)
    time.sleep(0.25)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    old = bundle_command.prepare(None, source="auto", yes=True, values={}, kubernetes=EARLIER)
    assert bundle.minor(old.directory) == EARLIER
    with labs.running(NAME, "--control-planes", "3", "--bundle", str(old.directory)) as made:
        yield made


@pytest.fixture(scope="module")
def inventory(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hosts, with backups, and without the directory of the old bundle that they mount."""
    directory = tmp_path_factory.mktemp("upgrade")
    yaml, file = YAML(), lab.state / "hosts.yaml"
    content = yaml.load(file)
    content["backup"] = {"recipients": [key_pair(directory / "key")]}
    yaml.dump(content, file)
    old = bundle_command.prepare(None, source="auto", yes=True, values={}, kubernetes=EARLIER)
    maas("bootstrap", "--inventory", str(file), "--bundle", str(old.directory), "--yes")
    for host in content["hosts"]:
        host.pop("bundle")
    made = directory / "hosts.yaml"
    yaml.dump(content, made)
    return made


def versions(lab: Lab) -> set[str]:
    pods = json.loads(lab.kubectl("get", "pods", "--namespace=kube-system", "--output=json"))["items"]
    images = [pod["spec"]["containers"][0]["image"] for pod in pods]
    wanted = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
    own = {image.rpartition(":")[2] for image in images if image.rpartition("/")[2].startswith(wanted)}
    return own | {node.version for node in lab.cluster.nodes()}


def test_bootstrap_refuses_the_newest_bundle_and_names_the_way(lab: Lab, inventory: Path) -> None:
    assert versions(lab) == {OLD}
    done = maas("bootstrap", "--inventory", str(inventory), "--yes", status=1)
    assert f"runs Kubernetes {OLD}, and the bundle has {NEW}" in done.stderr
    assert "upgrade" in done.stderr
    assert versions(lab) == {OLD}


def test_a_cordoned_node_is_refused_before_anything_changes(lab: Lab, inventory: Path) -> None:
    lab.kubectl("cordon", "node1")
    done = maas("upgrade", "--inventory", str(inventory), "--yes", status=1)
    assert "node1 is cordoned" in done.stderr
    lab.kubectl("uncordon", "node1")
    assert upgrade.unfinished(lab.state) is None


def test_an_upgrade_under_load_keeps_the_api_and_ends_with_the_new_version_everywhere(
    lab: Lab, inventory: Path
) -> None:
    planned = maas("upgrade", "--inventory", str(inventory), "--dry-run")
    assert f"{OLD} to {NEW}" in planned.stderr
    assert versions(lab) == {OLD}
    service = lab.kubectl(
        "get", "service", "restaurant", "--namespace=restaurant", "--output=jsonpath={.spec.clusterIP}"
    )
    api = json.loads((lab.state / "plan.json").read_text())["control_plane_endpoint"]
    lab.on("node2", "sh", "-c", "cat > /run/probe.py", stdin=PROBE)
    for name, url in {"app": f"http://{service}/", "api": f"https://{api}/livez"}.items():
        lab.on("node2", "sh", "-c", f"nohup python3 /run/probe.py {name} {url} >/dev/null 2>&1 &")
    began = time.monotonic()
    done = maas("upgrade", "--inventory", str(inventory), "--soak", "10", "--yes")
    seconds = time.monotonic() - began
    lab.on("node2", "touch", "/run/probe.stop")
    time.sleep(4)
    found = {name: json.loads(lab.on("node2", "cat", f"/run/probe-{name}.json")) for name in ("app", "api")}
    print(f"upgrade from {OLD} to {NEW}: {seconds:.0f} s, {found}")
    assert versions(lab) == {NEW}
    assert "There is no downgrade" in done.stderr
    assert upgrade.unfinished(lab.state) is None
    assert found["api"]["seconds"] < 10
    phases = [
        (entry.phase, entry.host) for entry in journal.read(lab.state / "journal.jsonl") if entry.playbook == "upgrade"
    ]
    planes = [host for phase, host in phases if phase == "Upgrade the control planes"]
    kubelets = [host for phase, host in phases if phase == "Upgrade the kubelet"]
    assert sorted(planes) == sorted(PLANES)
    assert kubelets == [*PLANES, "node1", "node2"]


def test_the_same_command_again_changes_nothing(lab: Lab, inventory: Path) -> None:
    done = maas("upgrade", "--inventory", str(inventory), "--yes")
    assert "nothing was changed" in done.stderr
    assert "0 changed tasks" in maas("bootstrap", "--inventory", str(inventory), "--yes").stderr
    assert versions(lab) == {NEW}


def test_a_downgrade_is_refused(lab: Lab, inventory: Path) -> None:
    done = maas("upgrade", "--inventory", str(inventory), "--to", EARLIER, "--yes", status=1)
    assert "does not support a downgrade" in done.stderr
    assert versions(lab) == {NEW}
