"""Dashboard, rules and metrics agree: what the first two ask for, a server exports."""

import os
import re
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from service.api.state import ServerState
from tests.repository.test_alerts import GROUPS
from tests.repository.test_dashboard import CHARTS, DASHBOARD
from tests.support.factories import make_adapter_bytes
from tests.support.paths import ROOT
from tests.support.promql import Labels, complaints, exported, selectors
from tests.support.serving import UPLOAD, predict, running, upload

VARIABLES = {
    "$__rate_interval": "5m",
    "$__range": "1h",
    "$quantile": "0.95",
    "$job": ".*",
    "$instance": ".*",
    "$task": ".*",
}
RECORDED = {rule["record"]: {"job"} for group in GROUPS for rule in group["rules"] if "record" in rule}
QUERIES = {f"{panel['title']} {target['refId']}": target["expr"] for panel in CHARTS for target in panel["targets"]}
QUERIES |= {item["name"]: item["expr"] for item in DASHBOARD["annotations"]["list"]}
RULES = {rule.get("alert") or rule["record"]: rule["expr"] for group in GROUPS for rule in group["rules"]}


def plain(expression: str) -> str:
    """With Grafana's variables filled in."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


@pytest.fixture(scope="module")
def known(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """Every series, with its labels, of a server that has answered well and badly, and what the rules record."""
    folder: Path = tmp_path_factory.mktemp("monitored")
    with running(tiny, folder) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        predict(client, "t", "a good film")
        client.post("/v1/t/predict", json={"inputs": ""})
        client.post("/admin/v1/tasks/t/versions", content=b"no adapter at all", headers=UPLOAD)
        return exported(scrape(client)) | RECORDED


def scrape(client: TestClient) -> str:
    """The metrics of a server whose engine has a process of its own."""
    state: ServerState = client.app_state["server"]
    state.metrics.watch_process("engine", os.getpid)
    return client.get("/metrics").text


@pytest.mark.parametrize("name", QUERIES)
def test_what_the_dashboard_asks_for_exists(known: Labels, name: str) -> None:
    """Each series, each label that it is selected or grouped by."""
    assert complaints(plain(QUERIES[name]), known) == []


@pytest.mark.parametrize("name", RULES)
def test_what_the_rules_ask_for_exists(known: Labels, name: str) -> None:
    """The same."""
    assert complaints(RULES[name], known) == []


def test_prometheus_keeps_what_is_asked_for() -> None:
    """That of docker-compose.yml, for longer than the longest time of a query or a rule, in the volume."""
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["prometheus"]
    options = dict(option.removeprefix("--").split("=") for option in service["command"])
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    assert {options["config.file"], options["storage.tsdb.path"]} <= mounted
    days = [int(days) for days in re.findall(r"\[(\d+)d\]", str([*QUERIES.values(), *RULES.values()]))]
    assert max(days) == 30
    assert int(options["storage.tsdb.retention.time"].removesuffix("d")) > max(days)


def test_the_variables_ask_for_what_exists(known: Labels) -> None:
    """`label_values(series, label)` names both."""
    queries = [item["query"]["query"] for item in DASHBOARD["templating"]["list"] if item["type"] == "query"]
    assert len(queries) == 3
    for query in queries:
        expression, label = query.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
        assert complaints(plain(expression), known) == []
        assert label in known[selectors(plain(expression))[0].name]


def test_every_metric_is_on_the_dashboard(known: Labels) -> None:
    """Each exported metric has a panel."""
    shown = {selector.name for query in QUERIES.values() for selector in selectors(plain(query))}
    suffixes = ("_bucket", "_sum", "_count", "_created")
    for name in known:
        if name.startswith("adakron_") and "_process_" not in name and not name.endswith(suffixes):
            assert name in shown, name
    for name in known:
        if name.startswith("adakron_") and name.endswith("_bucket"):
            assert {name, name.removesuffix("_bucket") + "_sum"} & shown, name


def test_the_legends_name_labels_that_are_there(known: Labels) -> None:
    """`{{task}}` of a query without that label would be an empty legend."""
    every = {label for labels in known.values() for label in labels}
    for panel in CHARTS:
        for target in panel["targets"]:
            legend = target["legendFormat"]
            for label in [part.split("}}")[0] for part in legend.split("{{")[1:]]:
                assert label in every, panel["title"]
