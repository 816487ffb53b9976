"""What `maas lint` checks of the charts, each check by itself; together they take a few seconds."""

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
"""The application's image: it is built from app/ and so is no upstream component of the lock."""

_REFERENCE = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?/[\w./-]+:[\w.-]+(@sha256:[0-9a-f]{64})?")
"""A reference to an image with its registry and tag."""

_YAML_STYLE = """
extends: default
rules:
  line-length: {max: 120}
  document-start: disable
  comments: {min-spaces-from-content: 1}
  braces: {max-spaces-inside: 1}
"""
"""How people write descriptions of charts, values and profiles. Templates are no YAML before Helm."""

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

_GRADE_OK = 10
"""kube-score's grade for what it has nothing to say about; a warning is 5, something critical 1."""

_WITHOUT_SCHEMA = ("HTTPRoute",)
"""Kinds of projects that are neither Kubernetes nor ours; they are off by default."""


@dataclass(frozen=True)
class Fault:
    """Something that a check found.

    Attributes:
        where: The file or object.
        what: What is wrong with it.
    """

    where: str
    what: str


def chart_testing() -> Iterator[Fault]:
    """chart-testing (`ct lint`) of every chart: descriptions, style of YAML, and `helm lint --strict` with every profile."""
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
            # Accounts of maintainers would be asked of a network, and no repository has the dependencies.
            argv += ["--validate-maintainers=false", "--skip-helm-dependencies"]
            argv += ["--chart-yaml-schema", paths.content() / "schemas" / "chart.yaml", "--lint-conf", rules]
            argv += ["--helm-lint-extra-args", f"--strict --quiet --kube-version {render.KUBERNETES[-1]}"]
            complaints.write_text("", encoding="utf-8")
            done = process.run(argv, cwd=root, env=environment, check=False, timeout=120)
            if done.returncode:
                said = complaints.read_text(encoding="utf-8").strip() or f"{done.stdout}\n{done.stderr}"
                lines = (line.strip() for line in said.splitlines())
                yield Fault(named, "; ".join(line for line in lines if line.strip("-")))


def kubeconform() -> Iterator[Fault]:
    """kubeconform, strictly and offline, over every profile and Kubernetes version."""
    for version in render.KUBERNETES:
        requests = [Request(render.umbrella(), values=(profile,), kubernetes=version) for profile in render.profiles()]
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch)
            everything = (entry for request in requests for entry in render.objects(request))
            schemas.write(directory, kubernetes=version, objects=everything)
            # One run for all of them, because reading the schemas is most of the work.
            manifests = {directory / request.values[0].name: request for request in requests}
            for file, request in manifests.items():
                file.write_text(render.render(request), encoding="utf-8")
            argv: list[str | Path] = [tools.tool("kubeconform"), "-strict", "-output", "json"]
            argv += ["-skip", ",".join(_WITHOUT_SCHEMA)]
            argv += ["-schema-location", scratch + "/{{.ResourceKind}}{{.KindSuffix}}.json"]
            done = process.run([*argv, *manifests], check=False, timeout=120)
            try:
                answer = json.loads(done.stdout)
            except json.JSONDecodeError as error:
                raise ProcessError(done.argv, returncode=done.returncode, stderr=done.stderr) from error
            for entry in answer["resources"]:
                (profile,) = manifests[Path(entry["filename"])].values
                yield Fault(f"{_named(profile)} on {version}, {entry['kind']}/{entry['name']}", entry["msg"])


def kube_score() -> Iterator[Fault]:
    """kube-score over every profile: what it finds is accepted, with a reason, and what is accepted is still found."""
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
    """The file of kube-score's findings that stay, with the reasons."""
    return render.umbrella() / "ci" / "kube-score.yaml"


def findings_of(manifests: str) -> Iterator[tuple[str, str]]:
    """What kube-score finds, each with the object as Kind/name or, for one of its containers, Kind/name:container."""
    argv: list[str | Path] = [tools.tool("kube-score"), "score", "--output-format", "json"]
    argv += ["--kubernetes-version", f"v{render.KUBERNETES[-1].rpartition('.')[0]}"]
    # Of those that are off by default, all but those that want limits to be what is requested.
    argv += ["--enable-optional-test", "container-seccomp-profile,container-ports-check", "-"]
    done = process.run(argv, input=manifests, check=False, timeout=120)
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
    """Chart.lock is what Helm would write from Chart.yaml and the subcharts."""
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
        yield Fault("Chart.lock", "does not belong to Chart.yaml; run `helm dependency update .`")


def images() -> Iterator[Fault]:
    """Every image that a profile asks for is an image of the lock of components, at its version."""
    locked = {_path(item.reference) for _, item in components.load().items() if isinstance(item, components.Image)}
    locked.add(_path(RESTAURANT))
    for profile in render.profiles():
        objects = render.objects(Request(render.umbrella(), values=(profile,)))
        for reference in sorted(images_of(list(objects))):
            if _path(reference) not in locked:
                yield Fault(_named(profile), f"{reference} is not in the component lockfile")


def drift() -> Iterator[Fault]:
    """What is generated is as generated now."""
    from maas.dashboards import registry  # noqa: PLC0415 - its library is a tool of development

    for file in [*outputs.drift(), *registry.drift()]:
        yield Fault(_named(file), "is not as generated now; run `maas generate`")
    for source in crds.SOURCES:
        for file in crds.drift(source, crds.generate(source)):
            yield Fault(_named(file), f"is not what {source.module}'s Go types say; run `maas generate`")


def used_values() -> Iterator[Fault]:
    """Every value is used in the templates, and every used value is one."""
    for chart in values.charts():
        source = _named(chart.directory / values.SOURCE)
        for path in values_lint.unused(chart):
            what = f"no template uses {path}; if one does without its name, add it to {values_lint.EXCEPTIONS}"
            yield Fault(source, what)
        for path in values_lint.unknown(chart):
            yield Fault(source, f"a template or a table of files/ uses {path}, which is not a value")


def language() -> Iterator[Fault]:
    """Check terms and spelling of every text, but for the files that are still to be rewritten."""
    from maas.codegen import terminology  # noqa: PLC0415 - codespell is a tool of development

    found, clean = terminology.split(terminology.findings(terminology.texts()), terminology.pending())
    for finding in found:
        yield Fault(f"{finding.file}:{finding.line}", f'"{finding.found}": use {finding.use}')
    for entry in clean:
        yield Fault(terminology.PENDING, f"{entry} has no findings; remove the line")


def doc_links() -> Iterator[Fault]:
    """Check that every link between Markdown files leads to a file and a heading that exist."""
    from maas.codegen import links  # noqa: PLC0415 - its library is a tool of development

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
    "language": language,
    "links": doc_links,
    "commit subjects": commit_subjects,
}


def _named(path: Path) -> str:
    return str(path.relative_to(render.umbrella())) or "."


def _path(reference: str) -> str:
    """A reference without its registry, which a mirror replaces, and without a digest."""
    return reference.partition("/")[2].partition("@")[0]


def images_of(node: Any) -> Iterator[str]:
    """Every image that some objects ask for, in containers, custom resources and arguments."""
    if isinstance(node, list):
        for entry in node:
            yield from images_of(entry)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "image" and isinstance(value, str):
                yield value
            elif key == "args" and isinstance(value, list):
                # An operator is told of the images that it starts.
                words = (str(word).partition("=")[2] for word in value)
                yield from (word for word in words if _REFERENCE.fullmatch(word))
            else:
                yield from images_of(value)
