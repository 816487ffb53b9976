"""The checks of `maas lint`: charts, generated files and texts."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from maas import __version__, components, paths, process
from maas.bundle import tools
from maas.codegen import crds, outputs, repository, schemas, values, values_lint
from maas.errors import ChartError, ProcessError
from maas.helm import render
from maas.helm.client import Helm
from maas.helm.render import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RESTAURANT = f"ghcr.io/maas/restaurant:{__version__}"
"""The image of the application. It is built from app/ and therefore not in the component lockfile."""

_REFERENCE = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?/[\w./-]+:[\w.-]+(@sha256:[0-9a-f]{64})?")
"""An image reference with registry and tag."""

_YAML_STYLE = """
extends: default
rules:
  line-length: {max: 120}
  document-start: disable
  comments: {min-spaces-from-content: 1}
  braces: {max-spaces-inside: 1}
"""
"""The style of chart descriptions, values and profiles. Templates are not YAML before Helm renders them."""

_LINTER = """\
#!/bin/sh
output=$("{program}" "$@" 2>&1)
status=$?
printf '%s\\n' "$output"
[ "$status" -eq 0 ] || printf '%s\\n' "$output" >>"{complaints}"
exit "$status"
"""
"""A linter as chart-testing starts it. chart-testing closes the pipe when the linter ends, whether or not it has read all
of the output (RunProcess in its pkg/exec), so what the linter reports is also written to a file."""

_FILES = re.compile(r"(?<![\w.])\$?\.Files\.\w+ \"([^\"]+)\"")
"""A file or pattern that a template reads from its own chart; `$subchart.Files` is of another one."""

_GRADE_OK = 10
"""The grade of kube-score for no finding; a warning is 5, a critical finding 1."""

_WITHOUT_SCHEMA = ("HTTPRoute",)
"""Kinds without a schema: they belong to other projects and are not rendered by default."""


@dataclass(frozen=True)
class Fault:
    """A problem that a check found.

    Attributes:
        where: The file or object.
        what: The problem.
    """

    where: str
    what: str


def chart_testing() -> Iterator[Fault]:
    """Run chart-testing (`ct lint`) on every chart: descriptions, YAML style, and `helm lint --strict` with every profile."""
    own = paths.cache() / "helm"
    # It starts helm, yamllint and yamale by name; the latter two are development tools, beside this Python.
    beside = Path(sys.executable).parent
    linters = {"helm": tools.tool("helm"), "yamllint": beside / "yamllint", "yamale": beside / "yamale"}
    environment = {f"HELM_{what}_HOME": str(own / what.lower()) for what in ("CACHE", "CONFIG", "DATA")}
    with tempfile.TemporaryDirectory() as scratch:
        complaints = Path(scratch) / "complaints"
        for name, program in linters.items():
            (Path(scratch) / name).write_text(_LINTER.format(program=program, complaints=complaints), encoding="utf-8")
            (Path(scratch) / name).chmod(0o700)
        environment |= {"PATH": os.pathsep.join((scratch, os.environ["PATH"])), "KUBECONFIG": ""}
        rules = Path(scratch) / "yamllint.yaml"
        rules.write_text(_YAML_STYLE, encoding="utf-8")
        # A copy, because `helm lint` wants the library chart inside each subchart.
        root = render.copy_with_libraries(render.umbrella(), Path(scratch) / "maas")
        shutil.copytree(render.umbrella() / "ci", root / "ci")
        for chart in render.subcharts():
            for library in render.libraries(chart):
                shutil.copytree(library, root / "charts" / chart.name / "charts" / library.name)
        for chart in (root, *render.subcharts(root)):
            named = str(chart.relative_to(root)) or "."
            argv: list[str | Path] = [tools.tool("ct"), "lint", "--charts", named, "--chart-dirs", ".,charts"]
            # Validating maintainers needs a network, and the dependencies are in no repository.
            argv += ["--validate-maintainers=false", "--skip-helm-dependencies"]
            argv += ["--chart-yaml-schema", paths.content() / "schemas" / "chart.yaml", "--lint-conf", rules]
            argv += ["--helm-lint-extra-args", f"--strict --quiet --kube-version {render.KUBERNETES[-1]}"]
            complaints.write_text("", encoding="utf-8")
            done = process.run(argv, cwd=root, env=environment, check=False, timeout=600)
            if done.returncode:
                said = complaints.read_text(encoding="utf-8").strip() or f"{done.stdout}\n{done.stderr}"
                lines = (line.strip() for line in said.splitlines())
                yield Fault(named, "; ".join(line for line in lines if line.strip("-")))


def kubeconform() -> Iterator[Fault]:
    """Run kubeconform, strictly and offline, on every profile and Kubernetes version."""
    for version in render.KUBERNETES:
        requests = [Request(render.umbrella(), values=(profile,), kubernetes=version) for profile in render.profiles()]
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch)
            everything = (entry for request in requests for entry in render.objects(request))
            schemas.write(directory, kubernetes=version, objects=everything)
            # One run for all profiles, because loading the schemas takes most of the time.
            manifests = {directory / request.values[0].name: request for request in requests}
            for file, request in manifests.items():
                file.write_text(render.render(request), encoding="utf-8")
            argv: list[str | Path] = [tools.tool("kubeconform"), "-strict", "-output", "json"]
            argv += ["-skip", ",".join(_WITHOUT_SCHEMA)]
            argv += ["-schema-location", scratch + "/{{.ResourceKind}}{{.KindSuffix}}.json"]
            done = process.run([*argv, *manifests], check=False, timeout=600)
            try:
                answer = json.loads(done.stdout)
            except json.JSONDecodeError as error:
                raise ProcessError(done.argv, returncode=done.returncode, stderr=done.stderr) from error
            for entry in answer["resources"]:
                (profile,) = manifests[Path(entry["filename"])].values
                yield Fault(f"{_named(profile)} on {version}, {entry['kind']}/{entry['name']}", entry["msg"])


def kube_score() -> Iterator[Fault]:
    """Run kube-score on every profile: every finding needs a reason, and every reason a finding."""
    accepted = yaml.safe_load(accepted_in().read_text(encoding="utf-8"))
    used: set[tuple[str, str]] = set()
    for profile in render.profiles():
        for found, about in findings_of(render.render(Request(render.umbrella(), values=(profile,)))):
            entries = (entry for entry in accepted if entry["finding"] == found)
            matching = {(found, of) for entry in entries for of in entry["of"] if fnmatchcase(about, of)}
            used |= matching
            if not matching:
                yield Fault(f"{_named(profile)}, {about}", found)
    for entry in accepted:
        for of in entry["of"]:
            if (entry["finding"], of) not in used:
                yield Fault(_named(accepted_in()), f"{of} is no longer found: {entry['finding']}")


def accepted_in() -> Path:
    """Return the file of accepted findings of kube-score, with the reasons."""
    return render.umbrella() / "ci" / "kube-score.yaml"


def findings_of(manifests: str) -> Iterator[tuple[str, str]]:
    """Yield the findings of kube-score, each with its object (Kind/name) or container (Kind/name:container)."""
    argv: list[str | Path] = [tools.tool("kube-score"), "score", "--output-format", "json"]
    argv += ["--kubernetes-version", f"v{render.KUBERNETES[-1].rpartition('.')[0]}"]
    # All optional tests, except those for limits that equal the requests.
    argv += ["--enable-optional-test", "container-seccomp-profile,container-ports-check", "-"]
    done = process.run(argv, input=manifests, check=False, timeout=600)
    try:
        objects = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise ProcessError(done.argv, returncode=done.returncode, stderr=done.stderr) from error
    for entry in objects:
        name = f"{entry['type_meta']['kind']}/{entry['object_meta']['name']}"
        for check in entry["checks"]:
            if check["grade"] < _GRADE_OK and not check["skipped"]:
                for comment in check["comments"] or ({"path": "", "summary": check["check"]["name"]},):
                    yield comment["summary"], f"{name}:{comment['path']}" if comment["path"] else name


def lock() -> Iterator[Fault]:
    """Check that Chart.lock is what Helm writes for Chart.yaml and the subcharts."""
    root = render.umbrella()
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        shutil.copy(root / "Chart.yaml", copy)
        for chart in (render.library(), *render.subcharts()):
            (copy / "charts" / chart.name).mkdir(parents=True)
            shutil.copy(chart / "Chart.yaml", copy / "charts" / chart.name)
        try:
            Helm.pinned().lock(copy)
        except ChartError as error:
            yield Fault("Chart.yaml", "; ".join(error.context))
            return
        wanted, found = (yaml.safe_load((at / "Chart.lock").read_text(encoding="utf-8")) for at in (copy, root))
    if (wanted["dependencies"], wanted["digest"]) != (found["dependencies"], found["digest"]):
        yield Fault("Chart.lock", "does not match Chart.yaml; run `helm dependency update .`")


def images() -> Iterator[Fault]:
    """Check that every image of a profile is in the component lockfile, with the same version."""
    locked = {_path(item.reference) for _, item in components.load().items() if isinstance(item, components.Image)}
    locked.add(_path(RESTAURANT))
    for profile in render.profiles():
        objects = render.objects(Request(render.umbrella(), values=(profile,)))
        for reference in sorted(images_of(list(objects))):
            if _path(reference) not in locked:
                yield Fault(_named(profile), f"{reference} is not in the component lockfile")


def drift() -> Iterator[Fault]:
    """Check that the generated files are up to date."""
    from maas.dashboards import registry  # noqa: PLC0415 - its library is for development

    for file in [*outputs.drift(), *registry.drift()]:
        yield Fault(_named(file), "is out of date; run `maas generate`")
    for source in crds.SOURCES:
        for file in crds.drift(source, crds.generate(source)):
            yield Fault(_named(file), f"differs from the Go types of {source.module}; run `maas generate`")


def used_values() -> Iterator[Fault]:
    """Check that templates use every value, and that every value they use exists."""
    for chart in values.charts():
        source = _named(chart.directory / values.SOURCE)
        for path in values_lint.unused(chart):
            what = f"no template uses {path}; if one does without its name, add it to {values_lint.EXCEPTIONS}"
            yield Fault(source, what)
        for path in values_lint.unknown(chart):
            yield Fault(source, f"a template or a table of files/ uses {path}, which is not a value")


def missing_files() -> Iterator[Fault]:
    """Check that every file that a template reads exists: Helm renders a missing one as an empty string."""
    for chart in (render.umbrella(), *render.subcharts()):
        for template in sorted((chart / "templates").rglob("*")):
            text = template.read_text(encoding="utf-8") if template.is_file() else ""
            for pattern in _FILES.findall(text):
                if not any(chart.glob(pattern)):
                    yield Fault(_named(template), f"reads {pattern}, which does not exist")


def community_rules() -> Iterator[Fault]:
    """Compare alerts and records with the community's, of which community.yaml has the facts."""
    from maas.codegen import community, rules  # noqa: PLC0415 - its library is for development

    files = rules.load(render.umbrella() / "charts" / "kube-prometheus")
    for one in community.drift(files, community.load()):
        yield Fault(
            one.name, f"{one.what}; change the rule, or the facts and reasons in src/maas/codegen/community.yaml"
        )


def language() -> Iterator[Fault]:
    """Check terms and spelling of every text."""
    from maas.codegen import terminology  # noqa: PLC0415 - codespell is for development

    for finding in terminology.findings(terminology.texts()):
        yield Fault(f"{finding.file}:{finding.line}", f'"{finding.found}": use {finding.use}')


def doc_links() -> Iterator[Fault]:
    """Check that every link between Markdown files leads to a file and a heading that exist."""
    from maas.codegen import links  # noqa: PLC0415 - its library is for development

    root = render.umbrella()
    for file in repository.files():
        if file.endswith(".md"):
            for line, reason in links.broken(root / file, root=root):
                yield Fault(f"{file}:{line}", reason)


def commit_subjects() -> Iterator[Fault]:
    """Check the length of commit subjects."""
    for commit, subject in repository.long_subjects():
        yield Fault(commit, f"the subject has {len(subject)} characters, more than {repository.SUBJECT_LENGTH}")


CHECKS: dict[str, Callable[[], Iterator[Fault]]] = {
    "chart-testing": chart_testing,
    "kubeconform": kubeconform,
    "kube-score": kube_score,
    "Chart.lock": lock,
    "images": images,
    "generated files": drift,
    "used values": used_values,
    "files of templates": missing_files,
    "community's rules": community_rules,
    "language": language,
    "links": doc_links,
    "commit subjects": commit_subjects,
}


def _named(path: Path) -> str:
    return str(path.relative_to(render.umbrella())) or "."


def _path(reference: str) -> str:
    """Return a reference without its registry, which a mirror replaces, and without its digest."""
    return reference.partition("/")[2].partition("@")[0]


def images_of(node: Any) -> Iterator[str]:
    """Yield every image of some objects: of containers, custom resources and arguments."""
    if isinstance(node, list):
        for entry in node:
            yield from images_of(entry)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "image" and isinstance(value, str):
                yield value
            elif key == "args" and isinstance(value, list):
                # Arguments of operators name the images that they start.
                words = (str(word).partition("=")[2] for word in value)
                yield from (word for word in words if _REFERENCE.fullmatch(word))
            else:
                yield from images_of(value)
