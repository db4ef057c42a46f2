"""The series that a PromQL expression selects, and those that a server exports."""

from collections.abc import Mapping
from dataclasses import dataclass

import promql_parser as promql
from prometheus_client.parser import text_string_to_metric_families

TARGET_LABELS = {"job", "instance"}  # that Prometheus adds to each series it scrapes
OF_PROMETHEUS = {"up": TARGET_LABELS}  # series of its own about each target

Labels = Mapping[str, set[str]]  # by name of a series


@dataclass(frozen=True)
class Selector:
    """One series by name that an expression reads."""

    name: str
    labels: frozenset[str]  # that it is selected by


def exported(exposition: str) -> dict[str, set[str]]:
    """Every series of a scrape with its labels, as Prometheus stores them."""
    series: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            series.setdefault(sample.name, set(TARGET_LABELS)).update(sample.labels)
    return series | OF_PROMETHEUS


def selectors(expression: str) -> list[Selector]:
    """Every one in `expression`, wherever it stands. Raises ValueError for what is no PromQL."""
    found = []
    for node in _nodes(expression):
        if isinstance(node, promql.VectorSelector):
            assert node.name, f"a selector without a name in {expression}"
            found.append(Selector(node.name, frozenset(matcher.name for matcher in node.matchers.matchers)))
    return found


def grouping_labels(expression: str) -> set[str]:
    """The labels in its clauses `by`, `on` and `group_left`."""
    labels: set[str] = set()
    for node in _nodes(expression):
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            labels.update(node.modifier.labels)
        if isinstance(node, promql.BinaryExpr) and node.modifier is not None and node.modifier.matching is not None:
            labels.update(node.modifier.matching.labels, node.modifier.group_labels or ())
    return labels


def complaints(expression: str, known: Labels) -> list[str]:
    """Return the selectors of `expression` that match none of the series `known`."""
    wrong = []
    of_all: set[str] = set()
    for selector in selectors(expression):
        if selector.name not in known:
            wrong.append(f"no series {selector.name}")
            continue
        of_all |= known[selector.name]
        wrong += [f"{selector.name} has no label {label}" for label in selector.labels - known[selector.name]]
    return wrong + [f"no series in it has the label {label}" for label in grouping_labels(expression) - of_all]


def _nodes(expression: str) -> list[promql.Expr]:
    nodes: list[promql.Expr] = []
    promql.walk(promql.parse(expression), nodes.append)
    return nodes
