"""The parts of a release; tests/acceptance builds a whole one."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING

import pytest
import yaml
from cyclonedx.model.component import ComponentType
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from maas import components, paths, process
from maas.bundle import cache, oci
from maas.bundle.restaurant_image import make_image_bundle
from maas.commands import release as command
from maas.errors import ReleaseError, UsageError
from maas.helm import render
from maas.release import app_image, charts, images, sbom, wheel
from maas.release.checkout import Checkout
from maas.release.version import Version

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = f"sha256:{'1' * 64}"


@pytest.fixture
def source(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path, "c0ffee", 1_790_000_000, Version.parse("0.1.0"), "https://maas.example/maas")


def test_every_image_of_the_chart_is_listed_and_locked() -> None:
    listed = images.references()
    assert listed == sorted(set(listed))
    assert any(reference.startswith("ghcr.io/maas/restaurant:") for reference in listed)
    for chart in render.subcharts():
        for reference in images.of_values(chart):
            assert reference in listed


def test_an_image_that_is_only_an_argument_is_found() -> None:
    pod = {
        "metadata": {"annotations": {"sidecar": "with registry.example/side-car:v1.0 inside"}},
        "containers": [
            {
                "image": "quay.io/prometheus-operator/prometheus-operator:v1",
                "args": ["--prometheus-config-reloader=quay.io/x/config-reloader:v1", "--web.listen=0.0.0.0:8080"],
                "env": [{"name": "HELPER_IMAGE", "value": "docker.io/library/busybox:1.35.0"}],
                "command": ["/bin/sh", "https://example.org/path:80/x"],
            }
        ],
    }
    assert images.of_object(pod) == {
        "quay.io/prometheus-operator/prometheus-operator:v1",
        "quay.io/x/config-reloader:v1",
        "docker.io/library/busybox:1.35.0",
        "registry.example/side-car:v1.0",
    }


def test_an_image_that_no_profile_starts_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "of_values", lambda _: ["quay.io/calico/node:v3.31.0", "quay.io/forgotten/image:v1"])
    assert [line.partition(" ")[0] for line in images.untested()] == ["quay.io/forgotten/image:v1"]


def test_an_image_that_is_not_in_the_lockfile_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "of_object", lambda _: {"quay.io/unknown/image:v1"})
    with pytest.raises(ReleaseError, match="not in the component lockfile") as raised:
        images.references()
    assert [line.partition(" ")[0] for line in raised.value.context] == ["quay.io/unknown/image:v1"]


def test_a_line_has_the_digest_if_it_is_known() -> None:
    assert images.lines(["a.example/b:1", "a.example/c:2"], {"a.example/c:2": DIGEST}) == (
        f"a.example/b:1\na.example/c:2@{DIGEST}\n"
    )


def test_the_commands_for_a_mirror_copy_every_image(capfd: pytest.CaptureFixture[str]) -> None:
    command.images("mirror.example:5000/maas/")
    said = capfd.readouterr()
    assert len(said.out.splitlines()) == len(images.references())
    assert "mirror.example:5000/maas/library/postgres:" in said.out
    assert "global.imageRegistry=mirror.example:5000/maas" in said.err


def test_a_bundle_is_not_built_from_images_of_another_version(tmp_path: Path) -> None:
    listed = tmp_path / "images.txt"
    listed.write_text("quay.io/other/image:v1\n")
    with pytest.raises(UsageError, match="another version of maas") as raised:
        make_image_bundle(tmp_path / "bundle", listed, source="auto", yes=True)
    assert raised.value.context == ("quay.io/other/image:v1",)
    assert not (tmp_path / "bundle").exists()


def engine_archive(path: Path, *, created: str, host: str, order: list[str]) -> None:
    """An archive of `docker save`, with its own times, names and order of files."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name in order:
            info = tarfile.TarInfo(name)
            info.mtime, info.uname, info.mode = hash(created) % 1000, host, 0o644
            content = b"Name: Flask\nVersion: 3.1\n\nText: 1" if name.endswith("METADATA") else name.encode()
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": created,
        "container": host,
        "config": {"Hostname": host, "Image": created, "Env": ["A=b"], "User": "10001", "Labels": {"kept": "yes"}},
        "history": [{"created": created}],
        "rootfs": {"type": "layers", "diff_ids": ["sha256:other"]},
    }
    manifest = [{"Config": "c.json", "RepoTags": ["r.example/i:1"], "Layers": ["l/layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        for name, content in (
            ("c.json", json.dumps(config).encode()),
            ("l/layer.tar", layer.getvalue()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_the_normalized_image_does_not_depend_on_when_and_where_docker_built_it(tmp_path: Path) -> None:
    files = ["b", "a", "opt/flask-3.1.dist-info/METADATA"]
    digests = set()
    for number, order in enumerate((files, files[::-1])):
        archive = tmp_path / f"{number}.tar"
        engine_archive(archive, created=f"2026-01-0{number + 1}T00:00:00Z", host=f"host{number}", order=order)
        plain, packed = tmp_path / f"{number}.plain", tmp_path / f"{number}.oci"
        found = app_image.normalize(archive, plain, labels={"org.example": "it"}, created="2026-01-01T00:00:00Z")
        assert found == {"Flask": "3.1"}
        oci.convert(plain, packed, reference="r.example/i:1")
        digests.add(app_image.digest(packed))
    assert len(digests) == 1
    with tarfile.open(plain) as tar:
        member = tar.extractfile("config.json")
        assert member is not None
        config = json.loads(member.read())
    assert config["config"] == {"Env": ["A=b"], "User": "10001", "Labels": {"kept": "yes", "org.example": "it"}}
    assert "container" not in config


def test_a_damaged_image_archive_is_refused(tmp_path: Path) -> None:
    with cache.scratch() as scratch:
        layer = oci.write_layer([oci.Entry("/file", content=b"content")], scratch)
        oci.write_image(tmp_path / "image.tar", [layer], oci.ImageConfig(), reference="r.example/i:1")
    assert app_image.digest(tmp_path / "image.tar").startswith("sha256:")
    content = (tmp_path / "image.tar").read_bytes()
    (tmp_path / "image.tar").write_bytes(
        content.replace(layer.path.name.encode(), b"x") if not content else content[:2000]
    )
    with pytest.raises(ReleaseError):
        app_image.digest(tmp_path / "image.tar")


def test_sboms_are_valid_and_reproducible(source: Checkout, tmp_path: Path) -> None:
    artifact = tmp_path / "maas-0.1.0.tgz"
    artifact.write_bytes(b"a chart")
    lines = [f"registry.example/a/b:v1@{DIGEST}", "docker.io/library/postgres:15-bookworm"]
    parts = [
        *sbom.images(lines, {"docker.io/library/postgres:15-bookworm": "PostgreSQL"}),
        *sbom.pinned(paths.content() / "requirements" / "maas.txt"),
        *sbom.inside({"Flask": "3.1"}),
    ]
    written = [
        sbom.write(
            source, artifact, ComponentType.APPLICATION, PackageURL("helm", None, "maas", "0.1.0"), some
        ).read_text()
        for some in (parts, parts[::-1])
    ]
    assert written[0] == written[1]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written[0]) is None
    bill = json.loads(written[0])
    names = {entry["purl"]: entry for entry in bill["components"]}
    assert f"pkg:oci/b@sha256:{'1' * 64}?repository_url=registry.example/a/b&tag=v1" in {
        url.replace("%3A", ":").replace("%2F", "/") for url in names
    }
    assert any(url.startswith("pkg:pypi/typer@") for url in names)
    assert bill["metadata"]["timestamp"].startswith("2026-09-21T14:13:20")


def test_charts_have_the_annotations_of_artifact_hub(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    (root / "charts/calico/crds").mkdir(parents=True)
    content = paths.content()
    for name in ("Chart.yaml", "charts/calico/Chart.yaml", "charts/calico/values.yaml"):
        (root / name).write_bytes((content / name).read_bytes())
    definition = min((content / "charts/calico/crds").iterdir())
    (root / "charts/calico/crds" / definition.name).write_bytes(definition.read_bytes())
    (root / "CHANGELOG.md").write_text("## [0.1.0] - 2026-01-01\n### Security\n- Keys: longer.\n")
    source = Checkout(root, "c0ffee", 1_790_000_000, Version.parse("0.1.0"), "https://maas.example/maas")
    listed = [f"{reference}@{DIGEST}" for reference in images.of_values(root / "charts/calico")]
    charts.annotate(
        source, root / "charts/calico", charts.images_of(root / "charts/calico", [*listed, "a.example/b:1"])
    )
    told = yaml.safe_load((root / "charts/calico/Chart.yaml").read_text())["annotations"]
    assert all(isinstance(value, str) for value in told.values())
    assert yaml.safe_load(told["artifacthub.io/changes"]) == [{"kind": "security", "description": "Keys: longer."}]
    assert [entry["image"] for entry in yaml.safe_load(told["artifacthub.io/images"])] == listed
    (crd,) = yaml.safe_load(told["artifacthub.io/crds"])
    assert crd["name"] == yaml.safe_load(definition.read_text())["metadata"]["name"]
    assert told["artifacthub.io/containsSecurityUpdates"] == "true"
    assert told["artifacthub.io/prerelease"] == "false"
    assert told["org.opencontainers.image.revision"] == "c0ffee"


def test_charts_do_not_depend_on_the_order_of_their_subcharts(tmp_path: Path) -> None:
    names = ["maas/Chart.yaml", "maas/values.yaml", *(f"maas/charts/{name}/Chart.yaml" for name in "abcd")]
    packed = set()
    for number, order in enumerate((names, [*names[:2], *names[:1:-1]])):
        archive = tmp_path / f"{number}.tgz"
        with tarfile.open(archive, "w:gz") as tar:
            for name in order:
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(name), 1_790_000_000
                tar.addfile(info, io.BytesIO(name.encode()))
        charts.sort_members(archive, tmp_path / "ordered.tgz", epoch=1_790_000_000)
        packed.add((tmp_path / "ordered.tgz").read_bytes())
        with tarfile.open(tmp_path / "ordered.tgz") as tar:
            assert tar.getnames() == [names[0], *sorted(names[1:])]
    assert len(packed) == 1


OUTSIDE = {
    *(".ci", ".editorconfig", ".github", ".gitignore", ".pre-commit-config.yaml", "renovate.json"),
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"),
    *("docs", "nox", "noxfile.py", "pyproject.toml", "requirements", "src", "tests"),
}
"""Files of the repository that an installed `maas` does not need."""


UNUSED = ("release/", "app/tests/", "app/benchmarks/", "app/openapi.json", "app/requirements-dev.txt", "app/.gitignore")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    directory = tmp_path_factory.mktemp("wheel")
    source = Checkout(paths.content(), "c0ffee", 1_790_000_000, Version.parse("0.1.0"), "https://maas.example/maas")
    wheel.build(source, directory)
    return zipfile.ZipFile(next(directory.glob("*.whl")))


def test_every_module_of_the_wheel_imports_only_what_the_wheel_contains_or_depends_on(built: zipfile.ZipFile) -> None:
    modules = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): name
        for name in built.namelist()
        if name.startswith("maas/") and name.endswith(".py") and not name.startswith("maas/content/")
    }
    pins = (paths.content() / "requirements" / "maas.txt").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([\w.-]+)==", pins, re.MULTILINE))
    packages = {
        package
        for package, distributions in packages_distributions().items()
        if {re.sub(r"[-_.]+", "-", name).lower() for name in distributions} & pinned
    }
    assert {"httpx", "kubernetes", "yaml"} <= packages
    # What `release` alone needs, behind maas.release.checkout.current: it refuses to run without a checkout.
    behind_a_checkout = {"maas.cli"}
    guarded = {"sigstore"}  # loaded when a keyless signature is made or verified
    for module, file in modules.items():
        for node in ast.walk(ast.parse(built.read(file))):
            imported = []
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                imported = [
                    name if (name := f"{node.module}.{alias.name}") in modules or is_source(name) else str(node.module)
                    for alias in node.names
                ]
            for name in imported:
                if name.partition(".")[0] == "maas":
                    assert name in modules or module in behind_a_checkout, f"{file}: {name} is not in the wheel"
                else:
                    top = name.partition(".")[0]
                    known = packages | guarded | sys.stdlib_module_names
                    assert top in known, f"{file}: {name} is not a dependency of the wheel"


def is_source(module: str) -> bool:
    file = paths.content() / "src" / module.replace(".", "/")
    return file.with_suffix(".py").is_file() or (file / "__init__.py").is_file()


def test_the_wheel_has_everything_that_an_installed_tool_needs(built: zipfile.ZipFile) -> None:
    root = paths.content()
    names = set(built.namelist())
    included = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for file in process.run(["git", "-C", root, "ls-files"]).stdout.splitlines():
        if file.partition("/")[0] not in OUTSIDE and not file.startswith(UNUSED):
            assert any(file == path or file.startswith(f"{path}/") for path in included["force-include"]), file
            if (root / file).exists():
                assert f"maas/content/{file}" in names


def test_licenses_of_images_come_from_the_lockfile() -> None:
    for component, item in components.load().items():
        if isinstance(item, components.Image):
            assert images.license_of(item.reference) == component.license
