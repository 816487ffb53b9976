"""What ssh reaches, the tool reaches: with real SSH servers on loopback, one of them a jump host."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support import sshd

from maas import paths, process
from maas.errors import HostKeyError, PreflightError
from maas.hosts import ansible, ansible_inventory, facts, known_hosts, ssh
from maas.hosts.inventory import Host, Hub, Inventory, Ssh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PHRASE = "open sesame"
ANSWER = 'a "$1 word'  # as SUDO below


class Way:
    """A host and a jump host, and a configuration of ssh that knows neither."""

    def __init__(self, directory: Path, host: sshd.Server, jump: sshd.Server, key: Path) -> None:
        self.directory = directory
        self.host = host
        self.jump = jump
        self.key = key
        self.pins = directory / "known_hosts"

    def configure(self, text: str) -> None:
        """Write the configuration of ssh. The jump host's key is known, as after a login by hand."""
        own = self.directory / "own_known_hosts"
        own.write_text(f"[127.0.0.1]:{self.jump.port} {sshd.public(self.jump.keys['ed25519'])}\n")
        sshd.use_configuration(
            self.directory, f"{text}\nHost *\n  UserKnownHostsFile {own}\n  IdentityFile {self.key}\n"
        )

    def scan(self, inventory: Inventory) -> tuple[known_hosts.Trusted, ...]:
        keys = known_hosts.scan(inventory, known_hosts=self.pins)
        known_hosts.pin(inventory, keys, known_hosts=self.pins)
        return keys

    def run(self, inventory: Inventory) -> str:
        """Scan, pin, and run a command on the host with the options that Ansible gets."""
        resolved = ssh.resolve(inventory)
        self.scan(resolved)
        host = resolved.hosts[0]
        control = ssh.control_path("shop", host)
        words = ssh.command(host, known_hosts=self.pins, control_path=control)
        try:
            return process.run([*words, "echo $SSH_CONNECTION"]).stdout
        finally:
            process.run(["ssh", "-F", "none", "-o", f"ControlPath={control}", "-O", "exit", "x"], check=False)


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory for sockets, whose paths must be short."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def way(tmp_path: Path, short: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    monkeypatch.setenv("PATH", str(tmp_path / "programs"), prepend=":")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    # These tests ask what ssh does, not how fast: the machine may be busy.
    monkeypatch.setattr(known_hosts, "_ATTEMPTS", (120,))
    monkeypatch.setattr(ssh, "_CONNECT_SECONDS", 120)
    monkeypatch.setattr(facts, "_SECONDS", 600)
    monkeypatch.setattr(ansible_inventory, "_ESCALATION_SECONDS", 120)
    key = sshd.keygen(tmp_path / "id")
    host = sshd.Server(tmp_path / "host", authorized=key, kinds=("ed25519", "ecdsa"))
    jump = sshd.Server(tmp_path / "jump", authorized=key)
    with sshd.running(host), sshd.running(jump):
        one = Way(tmp_path, host, jump, key)
        one.configure("")
        yield one


def inventory_of(**host: object) -> Inventory:
    known = {"name": "master", "role": "control-plane", **host}
    return Inventory(
        file=Path("/hosts.yaml"),
        cluster="shop",
        hub=Hub(endpoint="127.0.0.1"),
        hosts=(Host.model_validate(known),),
    )


def test_an_alias_has_the_address_the_port_and_the_user_of_the_configuration(way: Way) -> None:
    way.configure(f"Host shop_master\n  HostName 127.0.0.1\n  Port {way.host.port}\n  User {sshd.USER}")
    assert f" 127.0.0.1 {way.host.port}" in way.run(inventory_of(address="shop_master", user=sshd.USER))
    assert way.pins.read_text() == f"[shop_master]:{way.host.port} {sshd.public(way.host.keys['ed25519'])}\n"


def test_the_configuration_gives_what_the_inventory_leaves_out(way: Way) -> None:
    way.configure("Host shop\n  HostName 127.0.0.1\n  Port 2200\n  User somebody")
    (found,) = ssh.resolve(inventory_of(address="shop")).hosts
    assert (found.port, found.user) == (2200, "somebody")
    (given,) = ssh.resolve(inventory_of(address="shop", port=22, user="root")).hosts
    assert (given.port, given.user) == (22, "root")
    (other,) = ssh.resolve(inventory_of(address="127.0.0.1")).hosts
    assert (other.port, other.user) == (22, "root")


def test_a_configuration_that_ssh_rejects_is_an_error_with_its_line(way: Way) -> None:
    way.configure("Host shop\n  Prot 2200")
    with pytest.raises(PreflightError) as caught:
        ssh.resolve(inventory_of(address="shop"))
    assert "line 2: Bad configuration option: prot" in caught.value.context[0]
    assert caught.value.command == "ssh -G shop"


def test_a_jump_host_of_the_configuration_is_used(way: Way) -> None:
    way.configure(
        f"Host gate\n  HostName 127.0.0.1\n  Port {way.jump.port}\n  User {sshd.USER}\n"
        f"Host shop\n  HostName 127.0.0.1\n  Port {way.host.port}\n  ProxyJump gate"
    )
    way.run(inventory_of(address="shop", user=sshd.USER))
    assert way.jump.logins() >= 2  # for the host key, and for the command
    assert way.host.logins() == 1


def test_a_jump_host_of_the_inventory_is_used_and_is_part_of_the_pinned_name(way: Way) -> None:
    gate = f"{sshd.USER}@127.0.0.1:{way.jump.port}"
    way.run(inventory_of(address="127.0.0.1", port=way.host.port, user=sshd.USER, ssh=Ssh(proxyJump=gate)))
    assert way.jump.logins() >= 2  # for the host key, and for the command
    assert way.pins.read_text().split()[0] == f"[127.0.0.1]:{way.host.port}/{gate}"


def test_a_jump_host_whose_key_is_not_known_is_never_accepted(way: Way) -> None:
    way.jump.replace_key()
    gate = f"{sshd.USER}@127.0.0.1:{way.jump.port}"
    jumping = inventory_of(address="127.0.0.1", port=way.host.port, user=sshd.USER, ssh=Ssh(proxyJump=gate))
    sshd.use_configuration(way.directory, f"Host *\n  UserKnownHostsFile /dev/null\n  IdentityFile {way.key}\n")
    with pytest.raises(HostKeyError) as caught:
        way.scan(jumping)
    assert caught.value.code == "HostUnreachable"
    assert (caught.value.hint or "").startswith("a jump host shows a key that is not in your known_hosts")
    assert caught.value.command == f"ssh -J {gate} -p {way.host.port} {sshd.USER}@127.0.0.1"
    assert way.jump.logins() == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_names_and_addresses_of_both_families_work_with_a_port(way: Way, address: str) -> None:
    out = way.run(inventory_of(address=address, port=way.host.port, user=sshd.USER, key=way.key))
    assert out.split()[3] == str(way.host.port)


def test_a_scan_logs_in_nowhere(way: Way) -> None:
    (found,) = way.scan(inventory_of(address="127.0.0.1", port=way.host.port, user=sshd.USER))
    assert (found.key.fingerprint, found.new) == (sshd.fingerprint(way.host.keys["ed25519"]), True)
    assert way.host.logins() == 0


def test_the_configuration_of_ssh_cannot_weaken_the_pinned_key(way: Way) -> None:
    host = inventory_of(address="127.0.0.1", port=way.host.port, user=sshd.USER)
    way.scan(host)
    way.host.replace_key()
    own = way.directory / "trusting"
    own.write_text(f"[127.0.0.1]:{way.host.port} {sshd.public(way.host.keys['ed25519'])}\n")
    sshd.use_configuration(
        way.directory,
        f"Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile {own}\n  HostKeyAlias other\n"
        f"  IdentityFile {way.key}\n  RemoteCommand reboot\n  LocalForward 1 127.0.0.1:1\n  ExitOnForwardFailure yes\n",
    )
    with pytest.raises(HostKeyError) as caught:
        way.scan(host)
    assert caught.value.code == "HostKeyMismatch"
    done = process.run([*ssh.command(host.hosts[0], known_hosts=way.pins), "true"], check=False)
    assert done.returncode == 255
    assert way.host.logins() == 0


def test_every_type_of_key_can_be_the_one_of_the_inventory(way: Way) -> None:
    wanted = sshd.fingerprint(way.host.keys["ecdsa"])
    host = inventory_of(address="127.0.0.1", port=way.host.port, user=sshd.USER, fingerprint=wanted)
    assert way.scan(host)[0].key.fingerprint == wanted
    wrong = host.model_copy(update={"hosts": (host.hosts[0].model_copy(update={"fingerprint": "SHA256:" + "A" * 43}),)})
    with pytest.raises(HostKeyError) as caught:
        way.scan(wrong)
    assert all(sshd.fingerprint(key) in caught.value.context[0] for key in way.host.keys.values())


def test_a_closed_port_is_reported_in_the_words_of_ssh(way: Way) -> None:
    way.host.stop()
    with pytest.raises(HostKeyError) as caught:
        way.scan(inventory_of(address="127.0.0.1", port=way.host.port, user=sshd.USER))
    assert caught.value.context[0].endswith("Connection refused")


def test_a_key_with_a_passphrase_works_with_an_agent_and_is_explained_without_one(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = sshd.keygen(way.directory / "locked", passphrase=PHRASE)
    (way.directory / "host" / "authorized").write_text(sshd.public(key) + "\n")
    host = inventory_of(address="127.0.0.1", port=way.host.port, user=sshd.USER, key=key)
    way.scan(host)
    with pytest.raises(PreflightError) as caught:
        facts.gather(host, known_hosts=way.pins)
    assert "a key with a passphrase must be in an agent (ssh-add)" in (caught.value.hint or "")
    agent = way.directory / "agent"
    words = ["ssh-agent", "-D", "-a", str(agent)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as running:
        while not agent.exists():
            assert running.poll() is None
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        asked = {**os.environ, "SSH_ASKPASS": str(_answer(way.directory)), "SSH_ASKPASS_REQUIRE": "force"}
        subprocess.run(["ssh-add", "-q", key], check=True, env=asked)
        try:
            assert facts.gather(host, known_hosts=way.pins)["master"].uid == os.getuid()
        finally:
            running.terminate()


def _answer(directory: Path) -> Path:
    program = directory / "askpass"
    program.write_text(f"#!/bin/sh\necho '{PHRASE}'\n")
    program.chmod(0o755)
    return program


def test_ansible_takes_the_same_way(way: Way, drive: Callable[..., ansible.Result]) -> None:
    gate = f"{sshd.USER}@127.0.0.1:{way.jump.port}"
    way.configure(f"Host shop_master\n  HostName 127.0.0.1\n  Port {way.host.port}\n  User {sshd.USER}")
    host = ssh.resolve(inventory_of(address="shop_master", user=sshd.USER, ssh=Ssh(proxyJump=gate)))
    keys = known_hosts.scan(host, known_hosts=way.pins)
    known_hosts.pin(host, keys, known_hosts=paths.state("shop") / ansible.KNOWN_HOSTS)
    drive([{"name": "Ask", "ansible.builtin.command": "true"}], connection="ssh", inventory=host)
    assert way.jump.logins() >= 2  # for the host key, and for the command
    assert way.host.logins() == 1


# A program in place of sudo, which a test cannot configure: it wants a password, counts attempts and never reads more
# than a line of its standard input.
SUDO = """\
#!/bin/sh
for word; do [ "$word" = -n ] && exit 1; done
echo "$*" >> DIRECTORY/sudo
case "$*" in *BECOME*) for word; do case "$word" in *password:*) printf '%s' "$word" >&2 ;; esac; done ;; esac
IFS= read -r word
[ "$word" = 'a "$1 word' ] || { echo 'Sorry, try again.' >&2; exit 1; }
while :; do case "$1" in -p | -u) shift 2 ;; -*) shift ;; *) break ;; esac; done
"$@"
"""
# In place of id: the user is not root, until sudo starts it.
ID = "#!/bin/sh\necho 1000\n"


@pytest.fixture
def sudo(way: Way) -> Inventory:
    """A host whose user needs a password for sudo."""
    for name, text in (("sudo", SUDO.replace("DIRECTORY", str(way.directory))), ("id", ID)):
        program = way.directory / "programs" / name
        program.write_text(text)
        program.chmod(0o755)
    # The server gives its sessions a PATH of their own.
    config = way.directory / "host" / "config"
    way.host.stop()
    config.write_text(f"{config.read_text()}SetEnv PATH={way.directory}/programs:/usr/bin:/bin\n")
    way.host.start()
    host = inventory_of(address="127.0.0.1", port=way.host.port, user=sshd.USER)
    way.scan(host)
    return host


def test_facts_are_gathered_with_the_password_for_sudo(way: Way, sudo: Inventory) -> None:
    found = facts.gather(sudo, known_hosts=way.pins, become_password=ANSWER)
    assert found["master"].kernel == os.uname().release
    assert "word" not in (way.directory / "sudo").read_text()


def test_ansible_gets_the_password_and_writes_it_nowhere(
    way: Way, sudo: Inventory, drive: Callable[..., ansible.Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_BECOME_ALLOW_SAME_USER", "true")  # the tests may run as root
    (paths.state("shop") / ansible.KNOWN_HOSTS).write_text(way.pins.read_text())
    task = {"name": "Ask", "ansible.builtin.command": "true", "vars": {"ansible_become": True}}
    drive([task], connection="ssh", inventory=sudo, become_password=ANSWER)
    assert "BECOME-SUCCESS" in (way.directory / "sudo").read_text()
    files = [path for path in way.directory.rglob("*") if path.is_file() and path.parent.name != "programs"]
    assert files
    assert not [path for path in files if b'"$1 word' in path.read_bytes()]


def test_a_wrong_password_is_tried_once(way: Way, sudo: Inventory) -> None:
    with pytest.raises(PreflightError) as caught:
        facts.gather(sudo, known_hosts=way.pins, become_password=ANSWER[:-1])
    assert caught.value.context == (f"master: sudo rejects the password of {sshd.USER}",)
    assert (way.directory / "sudo").read_text().splitlines() == ["-k -S -p  true"]


def test_without_a_password_the_program_runs_as_the_user(way: Way, sudo: Inventory) -> None:
    assert facts.gather(sudo, known_hosts=way.pins)["master"].kernel == os.uname().release
    assert not (way.directory / "sudo").exists()
