"""Documents and docstrings are plain English: openings and phrases that make readers guess are not allowed."""

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PHRASES = {
    r"(nobody|whoever|somebody|everybody|anybody|everyone|someone|anyone)": "name the client, thread, user or operator",
    r"(is|are|was) told": "say who tells whom, or 'is logged', 'is reported'",
    r"(has|have) not (the|a|an|yet)": "write 'lacks' or 'does not have'",
    r"(?<!there )(is|are) (?-i:none)": "write 'there is no ...'",
    r"for want of": "write 'because ... is missing'",
    r"all but": "write 'all except'",
    r"no \w+ but": "write 'only'",
    r"so much of": "give the amount",
    r"by itself": "write 'alone', or leave it out",
    r"in place of": "write 'instead of'",
    r"what (is|was) (there|under way|left|over)": "name the thing",
    r"all the same": "write 'nevertheless', or leave it out",
    r"be it": "write 'whether'",
}
BANNED = re.compile(r"\b(" + "|".join(PHRASES) + r")\b", re.IGNORECASE)
FREE_RELATIVE = re.compile(r"(?:^|[.:;|] |- )((?:What|Who|Whose|Whom|Whatever)\b[^.?|]*(?:[.|]|$))")
OPENING = re.compile(r"(What|Of|Whether (?:it|they|any)|Who|Whose|Whatever|Where|None|So|As) ")
FOLDERS = ("adapters", "service", "benchmarks", "tests")
CODE = [
    file
    for folder in FOLDERS
    for file in (ROOT / folder).rglob("*.py")
    if ".environments" not in file.parts and file != Path(__file__)
]
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    ROOT / "adapters/pretrained/README.md",
    ROOT / "benchmarks/README.md",
]


def advice(phrase: str) -> str:
    """Return what to write instead of a banned phrase."""
    return next(instead for pattern, instead in PHRASES.items() if re.fullmatch(pattern, phrase, re.IGNORECASE))


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines of a page, without headings, code blocks and code."""
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fenced ^= line.startswith("```")
        if not fenced and not line.startswith(("#", "```", "    ")):
            yield number, re.sub(r"`[^`]*`|\[[^\]]*\]\([^)]*\)", "x", line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_plain_english(page: Path) -> None:
    """No page has a banned phrase, or a sentence whose subject begins with What or Who."""
    found = []
    for number, line in prose(page):
        where = f"{page.relative_to(ROOT)}:{number}"
        found += [f"{where}: {match.group()!r}: {advice(match.group())}" for match in BANNED.finditer(line)]
        found += [f"{where}: {match.group(1)!r}: name the subject" for match in FREE_RELATIVE.finditer(line)]
    assert not found, "\n" + "\n".join(found)


def docstrings(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of the docstrings of a module, its classes, its functions and their fields."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


@pytest.mark.parametrize("file", CODE, ids=lambda file: str(file.relative_to(ROOT)))
def test_docstrings_and_comments_are_plain_english(file: Path) -> None:
    """No docstring opens with a relative clause or a fragment; neither docstrings nor comments have a banned phrase."""
    found = []
    for number, text in docstrings(file):
        where = f"{file.relative_to(ROOT)}:{number}"
        if opening := OPENING.match(text):
            found.append(f"{where}: opens with {opening.group(1)!r}: begin with a verb or a noun phrase")
        found += [
            f"{where}: {match.group()!r}: {advice(match.group())}" for match in BANNED.finditer(" ".join(text.split()))
        ]
    with file.open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            if token.type == tokenize.COMMENT:
                where = f"{file.relative_to(ROOT)}:{token.start[0]}"
                found += [
                    f"{where}: {match.group()!r}: {advice(match.group())}" for match in BANNED.finditer(token.string)
                ]
    assert not found, "\n" + "\n".join(found)
