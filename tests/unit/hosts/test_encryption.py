from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.hosts import facts_of

from maas.errors import PkiError
from maas.hosts import _facts_script, encryption
from maas.hosts.encryption import Keys, following

if TYPE_CHECKING:
    from pathlib import Path


def providers(keys: Keys) -> list[dict[str, Any]]:
    (resource,) = json.loads(keys.configuration())["resources"]
    assert resource["resources"] == ["secrets"]
    found: list[dict[str, Any]] = resource["providers"]
    return found


def test_a_new_cluster_encrypts_from_its_first_secret_on(tmp_path: Path) -> None:
    keys = encryption.ensure(tmp_path, exists=False, found="")
    assert (keys.phase, len(keys.keys)) == ("complete", 1)
    secretbox, identity = providers(keys)
    (key,) = secretbox["secretbox"]["keys"]
    assert len(base64.b64decode(key["secret"])) == 32
    assert identity == {"identity": {}}
    assert (tmp_path / "encryption.json").stat().st_mode & 0o777 == 0o600
    assert encryption.ensure(tmp_path, exists=True, found="") == keys, "the key of a cluster stays"


def test_a_cluster_of_before_has_secrets_to_encrypt(tmp_path: Path) -> None:
    keys = encryption.ensure(tmp_path, exists=True, found="")
    assert keys.phase == "promoted"
    assert following(keys).phase == "complete"
    assert following(keys).keys == keys.keys


def test_an_api_server_can_always_read_what_another_one_writes() -> None:
    keys = Keys(keys=(encryption.new_key(),))
    old = keys.names[0]
    for phase in ("added", "promoted", "dropped", "complete"):
        before, keys = keys, following(keys)
        assert keys.phase == phase
        # While it is distributed, some have the configuration of before and some this one.
        assert before.names[0] in keys.names or phase == "dropped"
        assert keys.names[0] in before.names
    assert old not in keys.names
    assert len(keys.keys) == 1


def test_another_controller_takes_the_keys_of_the_control_plane(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    keys = encryption.ensure(first, exists=False, found="")
    taken = encryption.ensure(second, exists=True, found=keys.configuration())
    assert taken.digest == keys.digest
    assert taken.phase == "complete"
    rotating = following(following(keys))
    (second / "encryption.json").unlink()
    taken = encryption.ensure(second, exists=True, found=rotating.configuration())
    assert (taken.names, taken.phase) == (rotating.names, "promoted")


@pytest.mark.parametrize(
    "text", ["kind: EncryptionConfiguration", "{}", '{"resources": [{"providers": [{"kms": {}}]}]}']
)
def test_a_configuration_of_somebody_else_is_not_replaced(text: str, tmp_path: Path) -> None:
    with pytest.raises(PkiError):
        encryption.ensure(tmp_path, exists=True, found=text)
    assert list(tmp_path.iterdir()) == []
    assert _facts_script.encryption_keys(text) == []


def test_keys_that_the_controller_does_not_have_prevent_a_bootstrap(tmp_path: Path) -> None:
    facts = {"master": facts_of(encryption_keys=("other",)), "node1": facts_of()}
    assert encryption.problems(facts, tmp_path) == [], "it takes the keys of the host"
    keys = encryption.ensure(tmp_path, exists=False, found="")
    (problem,) = encryption.problems(facts, tmp_path)
    assert problem.host == "master"
    assert "other" in problem.message
    own = _facts_script.encryption_keys(keys.configuration())
    assert encryption.problems({"master": facts_of(encryption_keys=own)}, tmp_path) == []
    # The host still has the old key when the last phase begins.
    rotating = following(following(keys))
    encryption.save(tmp_path, following(rotating))
    assert encryption.problems({"master": facts_of(encryption_keys=rotating.names)}, tmp_path) == []


def test_damaged_keys_are_an_error_and_no_message_has_a_secret(tmp_path: Path) -> None:
    keys = encryption.ensure(tmp_path, exists=False, found="")
    assert keys.keys[0].secret not in repr(keys)
    (tmp_path / "encryption.json").write_text('{"keys": 1}')
    with pytest.raises(PkiError, match="damaged"):
        encryption.load(tmp_path)
