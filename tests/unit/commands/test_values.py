from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from maas import lab
from maas.bundle import tools
from maas.commands import _preflight, _values, bundle
from maas.commands import bootstrap as bootstrap_command
from maas.commands import lab as lab_command
from maas.errors import ChartError
from maas.helm import render, values_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HINT = "nothing was changed; correct the values, then run the same command again"
INVENTORY = """\
cluster: shop
hub: {endpoint: 203.0.113.10}
hosts:
  - {name: master, address: 203.0.113.10, role: control-plane}
"""


def refused(directory: Path, text: str) -> tuple[str, ...]:
    file = directory / "values.yaml"
    file.write_text(text)
    with pytest.raises(ChartError) as caught:
        _values.load([file])
    assert caught.value.message == "the chart's schema rejects the values"
    assert caught.value.hint == HINT
    return caught.value.context


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("restaurant: {replica: 3}", ("restaurant.replica: unknown key, did you mean replicas?",)),
        ("restaurant: {replicas: three}", ("restaurant.replicas: 'three' is not of type 'integer'",)),
        (
            "kube-prometheus: {alertmanager: {enabld: true}}",
            ("kube-prometheus.alertmanager.enabld: unknown key, did you mean enabled?",),
        ),
        ("restaurants: {replicas: 3}", ("restaurants: unknown key, did you mean restaurant?",)),
        ("calico: []", ("calico: [] is not of type 'object'",)),
        (
            "restaurant: {replica: 3, replicas: x}",
            (
                "restaurant.replica: unknown key, did you mean replicas?",
                "restaurant.replicas: 'x' is not of type 'integer'",
            ),
        ),
    ],
)
def test_values_are_held_against_the_schema(tmp_path: Path, text: str, problems: tuple[str, ...]) -> None:
    assert refused(tmp_path, text) == problems


def test_several_files_are_checked_as_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("restaurant: {replicas: three}")
    two.write_text("restaurant: {replicas: 3}")
    assert _values.load([one, two]) == {"restaurant": {"replicas": 3}}
    with pytest.raises(ChartError):
        _values.load([two, one])


@pytest.mark.parametrize("profile", render.profiles(), ids=lambda path: path.stem)
def test_the_profiles_pass(profile: Path) -> None:
    assert _values.load([profile]) == values_files.read([profile])


def test_null_is_refused_for_a_value_and_removes_a_key_of_a_map(tmp_path: Path) -> None:
    sentence = "restaurant.replicas: null is not a value; remove the key for the default"
    assert refused(tmp_path, "restaurant: {replicas: null}") == (sentence,)
    file = tmp_path / "values.yaml"
    file.write_text("restaurant: {resources: {limits: {cpu: null}}}")
    assert _values.load([file]) == {"restaurant": {"resources": {"limits": {"cpu": None}}}}


def test_values_that_pass_the_schema_are_rendered() -> None:
    with pytest.raises(ChartError) as caught:
        _values.refuse_unrenderable({"restaurant": {"ingress": {"enabled": True}}})
    assert caught.value.message == "the chart rejects the values"
    assert "An Ingress needs at least one host name." in caught.value.context
    assert caught.value.hint == HINT
    _values.refuse_unrenderable({"restaurant": {"replicas": 3}})


def bootstrap(directory: Path, values: Path, *, dry_run: bool) -> None:
    (directory / "hosts.yaml").write_text(INVENTORY)
    bootstrap_command.bootstrap(
        directory / "hosts.yaml", directory=None, source="auto", values=[values], without=[], dry_run=dry_run, yes=True
    )


def up(_: Path, values: Path, *, dry_run: bool) -> None:
    lab_command.up("lab", directory=None, source="auto", values=[values], dry_run=dry_run, yes=True)


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that were reached, of those that touch hosts or show a plan."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    reached: list[str] = []

    def stage(name: str) -> Callable[..., Any]:
        def reach(*_: Any, **__: Any) -> None:
            reached.append(name)
            raise InterruptedError

        return reach

    monkeypatch.setattr(_preflight, "run", stage("preflight"))
    monkeypatch.setattr(lab, "plan_engine", stage("lab"))
    monkeypatch.setattr(lab, "prepare", stage("lab"))
    return reached


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("text", ["restaurant: {replica: 3}", "restaurant: {ingress: {enabled: true}}"])
@pytest.mark.parametrize("command", [bootstrap, up])
def test_values_are_refused_before_a_host_is_contacted(
    tmp_path: Path, hosts: list[str], command: Callable[..., None], text: str, *, dry_run: bool
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(text)
    tools.tool("helm")
    with pytest.raises(ChartError, match="rejects the values"):
        command(tmp_path, values, dry_run=dry_run)
    assert hosts == []


def test_a_dry_run_without_helm_says_that_nothing_was_rendered(
    tmp_path: Path, hosts: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("restaurant: {ingress: {enabled: true}}")
    monkeypatch.setattr(tools, "cached", lambda _: None)
    with pytest.raises(InterruptedError):
        bootstrap(tmp_path, values, dry_run=True)
    assert hosts == ["preflight"]
    assert "the chart was not rendered with the values" in " ".join(capsys.readouterr().err.split())


def test_without_helm_values_are_rendered_before_hosts_are_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("restaurant: {ingress: {enabled: true}}")
    tool, reached = tools.tool("helm"), list[str]()
    monkeypatch.setattr(tools, "cached", lambda _: None)
    monkeypatch.setattr(tools, "tool", lambda _: tool)
    monkeypatch.setattr(lab, "prepare", lambda **_: None)
    monkeypatch.setattr(bundle, "prepare", lambda *_, **__: reached.append("bundle"))
    monkeypatch.setattr(lab, "up", lambda *_, **__: reached.append("hosts"))
    monkeypatch.setattr(lab, "release_engine", lambda: [f"stopped after {reached.pop()}"])
    with pytest.raises(ChartError, match="rejects the values"):
        up(tmp_path, values, dry_run=False)
    assert reached == []
    assert "stopped after bundle" in capsys.readouterr().err
