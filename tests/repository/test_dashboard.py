"""docker/grafana/dashboards/adakron.json: what Grafana expects, and what people need who read it or change it."""

import json
from itertools import combinations
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.support.paths import ROOT

FILE = ROOT / "docker/grafana/dashboards/adakron.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
CHARTS = [panel for panel in PANELS if panel["type"] != "row"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
OF_PROMETHEUS = {"expr", "step", "titleFormat"}  # of an annotation: the data source's own


def test_grafana_knows_every_field() -> None:
    """Read as Grafana's own types and written again, nothing of it is lost: no field is misspelt or out of place."""
    register_default_plugins()
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert list(_lost(DASHBOARD, again, "")) == []


def _lost(before: Any, after: Any, path: str) -> Any:
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                if not (path.startswith("/annotations/list/") and key in OF_PROMETHEUS):
                    yield f"{path}/{key}"
            else:
                yield from _lost(value, after[key], f"{path}/{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _lost(one, other, f"{path}/{number}")
    elif before != after:
        yield path


def test_ids_are_used_once_and_say_the_row() -> None:
    """A panel's id is that of its row and its place there, so that a link to it stays good when others come."""
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    row = 0
    for panel in PANELS:
        if panel["type"] == "row":
            assert panel["id"] == row + 100
            row = panel["id"]
        assert row <= panel["id"] < row + 100


def test_no_panel_lies_on_another() -> None:
    """All are inside the grid of 24 columns, and none overlaps."""
    places = [(panel["id"], *(panel["gridPos"][key] for key in "xywh")) for panel in PANELS]
    assert all(x >= 0 and w > 0 and h > 0 and x + w <= 24 for _, x, y, w, h in places)
    for (one, x1, y1, w1, h1), (other, x2, y2, w2, h2) in combinations(places, 2):
        apart = x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1
        assert apart, f"{one} and {other}"


@pytest.mark.parametrize("panel", CHARTS, ids=lambda panel: panel["title"])
def test_a_panel_can_be_read(panel: dict[str, Any]) -> None:
    """It has a title, a unit, queries of its own letters, and a description of a sentence or more."""
    assert panel["title"]
    assert len(panel["description"]) > 20
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == [chr(ord("A") + number) for number in range(len(letters))]


def test_titles_are_used_once() -> None:
    """Titles are unique, so that docs/monitoring.md can name panels."""
    titles = [panel["title"] for panel in PANELS]
    assert len(titles) == len(set(titles))


def test_the_data_source_is_that_of_the_variable() -> None:
    """Nothing names one of its own; the variable begins with the provisioned `prometheus`."""
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["datasource"]["current"]["value"] == "prometheus"
    sources = list(_sources(DASHBOARD))
    assert len(sources) == len(CHARTS) + len(DASHBOARD["annotations"]["list"]) + 3
    assert all(source == SOURCE for source in sources)


def _sources(node: Any) -> Any:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if key == "datasource":
            yield value
        else:
            yield from _sources(value)


def test_every_query_obeys_the_choices_at_the_top() -> None:
    """A chosen job or replica limits all panels to its figures."""
    for panel in CHARTS:
        for target in panel["targets"]:
            assert 'job=~"$job", instance=~"$instance"' in target["expr"], panel["title"]


def test_the_file_is_as_people_wrote_it() -> None:
    """It holds nothing that only an export puts there, so that a change shows as what it is."""
    assert DASHBOARD.keys().isdisjoint({"id", "iteration", "gnetId", "__inputs", "__requires"})
    assert DASHBOARD["version"] == 1
    assert DASHBOARD["uid"] == "adakron-serve"
    assert not any({"pluginVersion", "libraryPanel"} & panel.keys() for panel in PANELS)
