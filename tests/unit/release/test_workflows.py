from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from maas import paths

WORKFLOWS = sorted((paths.content() / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(params=WORKFLOWS, ids=lambda file: file.stem)
def workflow(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(request.param.read_text())
    return loaded


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_actions_are_pinned_by_digest(workflow: dict[str, Any]) -> None:
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])


def test_jobs_have_only_the_permissions_that_they_list(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"]["contents"] == "read"


def test_workflows_call_sessions_and_contain_no_logic(workflow: dict[str, Any]) -> None:
    for step in steps(workflow):
        if "run" in step:
            assert "./nox -s " in step["run"] or "docker login" in step["run"]
            assert "${{" not in step["run"]  # user input reaches a shell only as a variable
