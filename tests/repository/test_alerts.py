"""docker/alerts.yml: its form, its runbook, and what fires when."""

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT

RULES = ROOT / "docker/alerts.yml"
DASHBOARD = ROOT / "docker/grafana/dashboards/adakron.json"
TESTS = ROOT / "docker/alerts_test.yml"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_what_an_operator_needs(alert: dict[str, Any]) -> None:
    """How bad it is, what is the matter in one line, what that means, and where to read on."""
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    notes = alert["annotations"]
    assert notes.keys() == {"summary", "description", "runbook_url"}
    assert notes["summary"].endswith(".")
    assert "\n" not in notes["summary"]
    assert "{{" in notes["summary"], "which service, or which replica?"
    assert notes["runbook_url"] == f"docs/runbook.md#{alert['alert'].lower()}"


def test_the_runbook_has_each_alert_and_no_other() -> None:
    """In the order of the rules, each with what it means, where to look, and what to do."""
    runbook = (ROOT / "docs/runbook.md").read_text()
    entries = re.split(r"^## ", runbook, flags=re.MULTILINE)[1:]
    assert [entry.split("\n")[0] for entry in entries] == [alert["alert"] for alert in ALERTS]
    for entry in entries:
        for word in ("**Means**", "**Look**", "**Do**"):
            assert word in entry, f"{entry.split()[0]}: {word}"


def test_the_handbook_names_panels_that_are_there() -> None:
    """Words in italics in the pages for operators begin the title of a panel or a row."""
    titles = [panel["title"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    pages = ("sizing", "deployment", "monitoring", "runbook")
    text = re.sub(r"\*\*[^*]+\*\*", "", "\n".join((ROOT / f"docs/{page}.md").read_text() for page in pages))
    named = set(re.findall(r"(?<![*\w])\*([A-Z][^*|]+)\*", text))
    assert len(named) > 20
    assert [name for name in named if not any(title.startswith(" ".join(name.split())) for title in titles)] == []


def test_each_alert_is_expected_by_a_test_of_rules() -> None:
    """Each alert fires in a test of promtool's."""
    expected = set(re.findall(r'alertname="(\w+)"[^}]*}\', value: 1', TESTS.read_text()))
    assert expected == {alert["alert"] for alert in ALERTS}


def test_names_are_used_once() -> None:
    """Names of groups, alerts and recorded series are unique."""
    rules = [rule.get("alert") or rule["record"] for group in GROUPS for rule in group["rules"]]
    for names in (rules, [group["name"] for group in GROUPS]):
        assert len(names) == len(set(names))


@pytest.mark.parametrize("command", [["check", "rules", RULES], ["test", "rules", TESTS]], ids=lambda words: words[0])
def test_promtool_agrees(command: list[Any]) -> None:
    """Prometheus takes the rules, and what they say of made-up services is what docker/alerts_test.yml expects."""
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("no promtool (apt-get install prometheus)")
    done = subprocess.run([promtool, *command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
