from __future__ import annotations

import base64
import gzip
import io
import json
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cyclonedx.model.component import ComponentType
from packageurl import PackageURL

from maas import process
from maas.bundle import cache, oci, restaurant_image
from maas.release import (
    app_image,
    checksums,
    cosign,
    helm_provenance,
    pipeline,
    provenance,
    repository,
    sbom,
    signers,
    trust,
)
from maas.release.checkout import Checkout
from maas.release.version import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EPOCH = 1_790_000_000
IMAGE = restaurant_image.reference().rpartition(":")[0]


@dataclass(frozen=True)
class KeyPair:
    """Signs as cosign does, which takes minutes to build; the acceptance tests compare both."""

    private: ec.EllipticCurvePrivateKey

    def ready(self) -> None:
        """Do nothing: the key is in memory."""

    def sign(self, file: Path) -> Path:
        """Write what `cosign sign-blob` writes."""
        return self._write(file, {"messageSignature": {"signature": self._sign(file.read_bytes())}})

    def attest(self, statement: Path) -> Path:
        """Write what `cosign attest-blob` writes."""
        payload = statement.read_bytes()
        envelope = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": provenance.PAYLOAD,
            "signatures": [{"sig": self._sign(cosign.envelope(payload))}],
        }
        return self._write(statement, {"dsseEnvelope": envelope})

    def _sign(self, content: bytes) -> str:
        return base64.b64encode(self.private.sign(content, ec.ECDSA(hashes.SHA256()))).decode()

    def _write(self, file: Path, content: dict[str, Any]) -> Path:
        bundle = file.with_name(file.name + cosign.BUNDLE)
        bundle.write_text(json.dumps({"verificationMaterial": {"publicKey": {"hint": "x"}}, **content}))
        return bundle


@dataclass(frozen=True)
class Keys:
    """Keys of one maintainer for a test: a key pair, and one in a GnuPG home of its own."""

    pair: KeyPair
    gpg: signers.Gpg
    public: tuple[Path, Path]


def _keys(directory: Path, name: str) -> Keys:
    private, public = ec.generate_private_key(ec.SECP256R1()), directory / "maas.pub"
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM, form))
    user = f"{name} <{name}@example.org>"
    process.run(["gpg", "--batch", "--passphrase", "", "--quick-generate-key", user, "ed25519", "sign", "never"])
    armored = directory / "maas.asc"
    armored.write_text(process.run(["gpg", "--batch", "--armor", "--export", user]).stdout)
    gpg = signers.Gpg(trust.fingerprints(armored)[0])
    return Keys(KeyPair(private), gpg, (armored, public))


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A GnuPG home; its path is short, because it contains a socket."""
    directory = Path(tempfile.mkdtemp(prefix="gpg-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GNUPGHOME", str(directory))
        yield directory
        process.run(["gpgconf", "--kill", "all"], check=False)
    shutil.rmtree(directory, ignore_errors=True)  # the agent removes its sockets at the same time


@pytest.fixture(scope="session")
def keys(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """The keys of the project."""
    assert home.is_dir()
    return _keys(tmp_path_factory.mktemp("keys"), "project")


@pytest.fixture(scope="session")
def foreign(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """The keys of somebody else."""
    assert home.is_dir()
    return _keys(tmp_path_factory.mktemp("foreign"), "mallory")


def chart(
    directory: Path, name: str, version: str, *, extra: dict[str, bytes] | None = None, epoch: int = EPOCH
) -> Path:
    """The archive of a small chart."""
    target = directory / f"{name}-{version}.tgz"
    described = yaml.safe_dump({"apiVersion": "v2", "name": name, "version": version, "description": f"of {name}"})
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as tar:
        for path, content in {f"{name}/Chart.yaml": described.encode(), **(extra or {})}.items():
            info = tarfile.TarInfo(path)
            info.size, info.mtime = len(content), epoch
            tar.addfile(info, io.BytesIO(content))
    target.write_bytes(gzip.compress(memory.getvalue(), mtime=0))
    return target


@dataclass(frozen=True)
class Maker:
    """Makes small releases with all parts of a real one."""

    keys: Keys

    def unsigned(self, directory: Path, version: str, *, note: str = "", extra: dict[str, bytes] | None = None) -> Path:
        """Write the files of a release without signatures."""
        directory.mkdir(parents=True)
        source = Checkout(directory, "c0ffee" * 6 + "beef", EPOCH, Version.parse(version), "https://maas.example/maas")
        archives = [chart(directory, name, version) for name in ("calico", "restaurant")]
        umbrella = chart(directory, "maas", version, extra={"maas/values.yaml": note.encode(), **(extra or {})})
        with cache.scratch() as scratch:
            layer = oci.write_layer([oci.Entry("/note", content=f"{version} {note}".encode())], scratch)
            archive = directory / app_image.name(source)
            oci.write_image(archive, [layer], oci.ImageConfig(), reference=f"{IMAGE}:{version}")
        digest = app_image.digest(archive)
        (directory / "images.txt").write_text(f"{IMAGE}:{version}@{digest}\n")
        (directory / "NOTES.md").write_text(f"## {version}\n")
        (directory / repository.METADATA).write_text("owners: []\n")
        wheel = directory / f"maas-{version}-py3-none-any.whl"
        wheel.write_bytes(b"a wheel")
        for file, kind in ((umbrella, ComponentType.APPLICATION), (archive, ComponentType.CONTAINER)):
            sbom.write(source, file, kind, PackageURL("generic", None, "maas", version), sbom.charts(archives, version))
        self.seal(directory, version, digest)
        return directory

    def seal(self, directory: Path, version: str, digest: str | None = None) -> None:
        """Write the statement and the checksums again, as the maintainers would."""
        source = Checkout(directory, "c0ffee" * 6 + "beef", EPOCH, Version.parse(version), "https://maas.example/maas")
        for name in (provenance.FILE, checksums.FILE):
            (directory / name).unlink(missing_ok=True)
        suffixes = (trust.ASC, cosign.BUNDLE, helm_provenance.SUFFIX)
        files = [file for file in directory.iterdir() if not file.name.endswith(suffixes)]
        subjects = {file.name: cache.sha256(file) for file in files}
        image = digest or app_image.digest(next(directory.glob("*.oci.tar")))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(provenance, "_LOCKS", ())
            statement = provenance.write(
                source, directory, {**subjects, f"{IMAGE}:{version}": image.removeprefix("sha256:")}, {}
            )
        checksums.write(directory, [file.name for file in (*files, statement)])

    def release(
        self,
        directory: Path,
        version: str = "0.1.0",
        *,
        by: list[signers.Signer] | None = None,
        note: str = "",
        extra: dict[str, bytes] | None = None,
    ) -> Path:
        """A signed release."""
        self.unsigned(directory, version, note=note, extra=extra)
        pipeline.sign_all(directory, by or [self.keys.pair])
        return directory


@pytest.fixture(scope="session")
def maker(keys: Keys) -> Maker:
    return Maker(keys)


@pytest.fixture(scope="session")
def made(maker: Maker, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A release that is made once per version and copied for each test."""
    kept: dict[str, Path] = {}

    def copy(target: Path, version: str = "0.1.0") -> Path:
        if version not in kept:
            kept[version] = maker.release(tmp_path_factory.mktemp("releases") / version, version)
        shutil.copytree(kept[version], target)
        return target

    return copy


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # verify stores what it saw of an index in the state directory.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
