"""The reader of PromQL that the tests of dashboard and rules rely on."""

import pytest

from tests.support.promql import Selector, complaints, exported, grouping_labels, selectors

KNOWN = {"a_total": {"job", "task", "code"}, "b_bucket": {"job", "le"}, "c": {"job", "instance"}}


def test_selectors_are_found_wherever_they_stand() -> None:
    """In calls, ranges, subqueries, aggregations, parentheses and on both sides of operators."""
    expression = (
        'topk(3, sum by (task) (rate(a_total{code="200"}[5m]))) / on (job) group_left () '
        "(max_over_time(c[5m:1m]) or -(c)) > bool histogram_quantile(0.9, b_bucket)"
    )
    assert set(selectors(expression)) == {
        Selector("a_total", frozenset({"code"})),
        Selector("c", frozenset()),
        Selector("b_bucket", frozenset()),
    }
    assert grouping_labels(expression) == {"task", "job"}


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("rate(a_totals[5m])", "no series a_totals"),
        ('a_total{tier="x"}', "a_total has no label tier"),
        ("sum by (tier) (a_total)", "no series in it has the label tier"),
        ("c * on (job, tier) c", "no series in it has the label tier"),
        ("sum(c) by (job) + absent(d)", "no series d"),
    ],
)
def test_what_does_not_exist_is_complained_of(expression: str, complaint: str) -> None:
    """A series, a label that is selected by, a label that is grouped by."""
    assert complaints(expression, KNOWN) == [complaint]


def test_what_exists_is_not_complained_of() -> None:
    """Neither a name, nor a label."""
    assert complaints('sum by (task, le) (rate(a_total{job="x", code=~"5.."}[5m])) + b_bucket', KNOWN) == []


def test_what_is_no_promql_is_an_error() -> None:
    """A slip of the pen does not count as an expression that asks for nothing."""
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        selectors("sum by (job (a_total)")


def test_a_scrape_gives_names_and_labels() -> None:
    """Suffixes as Prometheus stores them, and the labels that it adds."""
    text = '# TYPE h histogram\nh_bucket{t="1",le="+Inf"} 1\nh_count{t="1"} 1\nh_sum{t="1"} 2\n# TYPE g gauge\ng 1\n'
    series = exported(text)
    assert series["h_bucket"] == {"job", "instance", "t", "le"}
    assert series["h_count"] == {"job", "instance", "t"}
    assert series["g"] == series["up"] == {"job", "instance"}
