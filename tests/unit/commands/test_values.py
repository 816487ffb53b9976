from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from maas import lab, paths
from maas.bundle import tools
from maas.commands import _preflight, _values, bundle
from maas.commands import bootstrap as bootstrap_command
from maas.commands import lab as lab_command
from maas.errors import ChartError, UsageError
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


def bootstrap(directory: Path, values: Path | None, *, dry_run: bool) -> None:
    (directory / "hosts.yaml").write_text(INVENTORY)
    files = [values] if values else []
    bootstrap_command.bootstrap(
        directory / "hosts.yaml", directory=None, source="auto", values=files, without=[], dry_run=dry_run, yes=True
    )


def up(_: Path, values: Path | None, *, dry_run: bool) -> None:
    files = [values] if values else []
    lab_command.up("lab", directory=None, source="auto", values=files, dry_run=dry_run, yes=True)


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


def test_without_files_the_values_of_the_last_run_stay(tmp_path: Path) -> None:
    given = tmp_path / "values.yaml"
    given.write_text("restaurant: {replicas: 3, autoscaling: {enabled: false}}")
    first = _values.choose([given], tmp_path)
    assert (first.source, first.changes) == (str(given), ())
    assert list(tmp_path.iterdir()) == [given], "only a run that changes the chart stores them"
    _values.remember(tmp_path, first.values)
    assert (tmp_path / "values.json").stat().st_mode & 0o777 == 0o600
    again = _values.choose([], tmp_path)
    assert again.values == first.values
    assert again.row() == ("chart values", "those of the last run, as there is no --values", "as in the last run")


def test_the_plan_names_the_values_that_change_and_not_their_contents(tmp_path: Path) -> None:
    _values.remember(tmp_path, {"restaurant": {"replicas": 3, "autoscaling": {"enabled": False}}, "common": {}})
    given = tmp_path / "values.yaml"
    given.write_text("restaurant: {replicas: 4, autoscaling: {enabled: false}}")
    row = _values.choose([given], tmp_path).row()
    assert row == ("chart values", str(given), "changes of the last run: common, restaurant.replicas")


def test_an_empty_file_returns_to_the_defaults(tmp_path: Path) -> None:
    _values.remember(tmp_path, {"restaurant": {"replicas": 3}})
    empty = tmp_path / "values.yaml"
    empty.touch()
    chosen = _values.choose([empty], tmp_path)
    assert chosen.values == {}
    assert chosen.row() == ("chart values", str(empty), "changes of the last run: restaurant")
    _values.remember(tmp_path, chosen.values)
    assert _values.choose([], tmp_path).row() is None


def test_values_of_the_last_run_that_a_newer_chart_rejects_are_named(tmp_path: Path) -> None:
    _values.remember(tmp_path, {"restaurant": {"replica": 3}})
    with pytest.raises(ChartError) as caught:
        _values.choose([], tmp_path)
    assert caught.value.message == "the chart's schema rejects the values of the last run"
    assert str(tmp_path / "values.json") in str(caught.value.hint)


@pytest.mark.parametrize("command", [bootstrap, up])
def test_a_run_without_values_uses_those_of_the_last_one(
    tmp_path: Path, hosts: list[str], command: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[Any] = []

    def render(values: Any) -> bool:
        rendered.append(values)
        return True

    monkeypatch.setattr(_values, "refuse_early", render)
    for name in ("shop", "lab"):
        _values.remember(paths.state(name), {"restaurant": {"replicas": 3}})
    with pytest.raises(InterruptedError):
        command(tmp_path, None, dry_run=False)
    assert rendered == [{"restaurant": {"replicas": 3}}]
    assert len(hosts) == 1


def test_a_database_with_more_servers_than_nodes_is_refused_with_both_numbers() -> None:
    values = {"restaurant": {"database": {"postgresql": {"replicas": 3}}}}
    _values.refuse_replicas(values, workers=3)
    _values.refuse_replicas({}, workers=0)
    with pytest.raises(UsageError, match="replicas is 3, but only 2 nodes") as error:
        _values.refuse_replicas(values, workers=2)
    assert "add 1 more" in str(error.value.hint)
