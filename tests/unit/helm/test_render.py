"""Rendering a chart: what Helm says, and what it must not look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.charts import write_chart

from maas.errors import ChartError
from maas.helm import render
from maas.helm.render import Request

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    return write_chart(tmp_path / "small")


def test_a_refusal_carries_helms_own_words(chart: Path) -> None:
    (chart / "templates" / "refuse.yaml").write_text('{{ fail "not like this" }}', encoding="utf-8")
    with pytest.raises(ChartError, match="helm template failed") as refused:
        render.render_uncached(Request(chart))
    assert "not like this" in "\n".join(refused.value.context)


def test_a_render_asks_no_cluster(chart: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Were it to follow this, the render would hang or fail.
    config = tmp_path / "kubeconfig"
    config.write_text("not a kubeconfig", encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(config))
    (chart / "templates" / "look.yaml").write_text('{{ $_ := lookup "v1" "Node" "" "" }}', encoding="utf-8")
    (entry,) = render.parse(render.render_uncached(Request(chart)))
    assert entry["data"]["word"] == "hello"


def test_empty_documents_are_no_objects() -> None:
    assert render.parse("---\n---\n# only a comment\n---\nkind: Thing\n") == [{"kind": "Thing"}]
