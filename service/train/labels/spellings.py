"""Labels that look alike: a class apart for each spelling, or one class where the caller asks for that."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from service.train.labels.names import class_order, loose_name, plain_name

SHOWN = 3  # groups in a warning


def near_equal(counts: Counter[str]) -> list[list[str]]:
    """Groups of names that look alike but for case, spaces and the like, the most frequent spelling first in each."""
    groups = defaultdict(list)
    for name in counts:
        groups[loose_name(name)].append(name)
    return [
        sorted(names, key=lambda name: (-counts[name], class_order(name)))
        for names in groups.values()
        if len(names) > 1
    ]


def merge(counts: Counter[str]) -> dict[str, str]:
    """Loose form of each name -> its most frequent spelling."""
    return {loose_name(name): name for name in counts} | {
        loose_name(names[0]): names[0] for names in near_equal(counts)
    }


def describe_spellings(name: str, counts: Counter[str], merged: Mapping[str, str]) -> list[str]:
    """A warning where names of the file `name` look alike: that they are classes apart, or were merged."""
    groups = near_equal(counts)
    if not groups:
        return []
    listed = "; ".join(
        " and ".join(f"{_show(spelling, group)} ({_rows(counts[spelling])})" for spelling in group)
        for group in groups[:SHOWN]
    )
    more = f" and {len(groups) - SHOWN:,} more" if len(groups) > SHOWN else ""
    if merged:
        return [f"{name}: --merge-spellings takes these labels for one, as the first is written: {listed}{more}"]
    return [
        f"{name}: labels that look alike are classes apart: {listed}{more}; --merge-spellings makes "
        "them one, as the most frequent is written"
    ]


def _show(spelling: str, group: list[str]) -> str:
    """The name in quotes; with its codes, where two of the group differ in what can hardly be seen."""
    return repr(spelling) if len(set(map(plain_name, group))) == 1 else ascii(spelling)


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"
