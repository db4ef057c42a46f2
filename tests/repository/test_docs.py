"""The documentation and the code agree."""

import ast
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml
from prometheus_client import Metric

from adapters.errors import Reason
from service import errors
from service.api.http.errors import _HTTP_ERROR_TYPES, STATUS
from service.app import create_app
from service.commands.app import app as command
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.support.paths import ROOT

DOCS = ROOT / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text()
MONITORING = (DOCS / "monitoring.md").read_text()
HTTP_API = (DOCS / "http-api.md").read_text()
WITH_REASON = {"Unauthorised", "Forbidden", "UploadRefused", "UnsupportedMediaType"}  # it is their first argument
ADAPTER_FORMAT = (DOCS / "adapter-format.md").read_text()


def table_keys(text: str, heading: str) -> set[str]:
    """First cells, in backticks, of the table under a heading."""
    section = text.split(f"## {heading}")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([^`{]+)", section, re.MULTILINE))


def test_every_setting_is_documented() -> None:
    """docs/configuration.md lists exactly the settings, and each has a docstring of its own."""
    assert table_keys(CONFIGURATION, "Settings") == {f"ADAKRON_{name.upper()}" for name in Settings.model_fields}
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.usefixtures("clean_environment")
def test_documented_defaults_are_true() -> None:
    """The defaults in the table are those of the code."""
    rows = re.findall(r"^\| `ADAKRON_(\w+)` \| `([^`]+)` \|", CONFIGURATION, re.MULTILINE)
    assert len(rows) > 15
    defaults = Settings()
    for name, shown in rows:
        assert getattr(Settings(**{name.lower(): shown}), name.lower()) == getattr(defaults, name.lower()), name


def test_every_metric_is_documented() -> None:
    """docs/monitoring.md lists exactly the service's metrics, with their labels."""

    def name(metric: Metric) -> str:
        return metric.name + "_total" if metric.type == "counter" else metric.name

    families = {name(metric) for metric in Metrics().families() if metric.name.startswith("adakron_")}
    assert table_keys(MONITORING, "Metrics") == families


def test_every_route_is_documented() -> None:
    """docs/http-api.md names every route of the OpenAPI document, and no other."""
    paths = create_app(Settings()).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert set(re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`\s]+)`", HTTP_API)) == routes


def test_every_error_is_documented() -> None:
    """docs/http-api.md lists every status and error_type that the code can answer."""
    section = HTTP_API.split("## Errors")[1]
    for status, error_type in [
        *STATUS.values(),
        *_HTTP_ERROR_TYPES.items(),
        (400, "malformed_json"),
        (500, "internal"),
    ]:
        row = next(line for line in section.splitlines() if line.startswith(f"| {status} |"))
        assert f"`{error_type}`" in row, error_type


def test_every_error_class_has_a_status() -> None:
    """The table from exception to HTTP covers the whole tree of errors."""
    from service.hub.errors import HubError
    from service.train.errors import TrainingError

    def tree(parent: type[errors.ServiceError]) -> set[type[errors.ServiceError]]:
        return {parent}.union(*(tree(child) for child in parent.__subclasses__()))

    outside_the_server = {errors.ServiceError, errors.Refusal, HubError, *tree(TrainingError)}
    assert tree(errors.ServiceError) - outside_the_server == set(STATUS)


def test_every_reason_code_is_documented() -> None:
    """docs/adapter-format.md lists exactly the reason codes that the checks can give."""
    assert table_keys(ADAPTER_FORMAT, "What is refused, and its reason code") == set(get_args(Reason))


def test_every_other_reason_code_is_documented() -> None:
    """docs/http-api.md lists exactly the reason codes that the service itself gives to keys and uploads."""
    codes = set()
    for file in {*(ROOT / "service").rglob("*.py")} - {*(ROOT / "service/api").rglob("examples.py")}:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "reason":
                codes.add(node.value)
            if isinstance(node, ast.Call):
                if getattr(node.func, "id", "") in (
                    "Unauthorised",
                    "Forbidden",
                    "UploadRefused",
                    "UnsupportedMediaType",
                ):
                    codes.add(node.args[0])
                codes |= {word.value for word in node.keywords if word.arg == "reason"}
    literal = {str(code.value) for code in codes if isinstance(code, ast.Constant)}
    assert table_keys(HTTP_API, "Reason codes") == literal


def test_every_command_is_in_the_readme() -> None:
    """The README shows every subcommand."""
    readme = (ROOT / "README.md").read_text()
    group = typer.main.get_command(command)
    for name in group.commands:  # type: ignore[attr-defined]
        assert f"adakron {name}" in readme, name


def known_options(words: list[str]) -> set[str]:
    """Return the options of the subcommand that `words` begin with."""
    found: Any = typer.main.get_command(command)
    for word in words:
        if word not in getattr(found, "commands", {}):
            break
        found = found.commands[word]
    return {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}


PAGES = [
    *ROOT.glob("*.md"),
    *DOCS.rglob("*.md"),
    ROOT / "adapters/pretrained/README.md",
    ROOT / "benchmarks/README.md",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link points to a file of the project, and its anchor to a heading of that page."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        target, _, heading = link.partition("#")
        if not target.startswith("http"):
            file = page.parent / target if target else page
            assert file.exists(), f"{page.relative_to(ROOT)}: no file {link}"
            assert not heading or heading in anchors(file), f"{page.relative_to(ROOT)}: no heading {link}"


@pytest.mark.parametrize("page", sorted((DOCS / "decisions").glob("0*.md")), ids=lambda page: page.stem)
def test_a_decision_has_a_status_and_a_date(page: Path) -> None:
    """Each decision is in the list of decisions, with the status and the date that it states itself."""
    title, _, status, *_ = page.read_text().split("\n")
    assert title.startswith(f"# {page.stem[:4]}: ")
    found = re.fullmatch(r"\*Status: (\w+).*? Date: (\d{4}-\d\d-\d\d).*", status)
    assert found, f"{page.name}: no line *Status: ... Date: YYYY-MM-DD.*"
    row = rf"\| \[{page.stem[:4]}\]\({page.name}\) \| .* \| {found.group(1)}.* \| {found.group(2)} \|"
    assert re.search(row, (DOCS / "decisions/README.md").read_text()), f"docs/decisions/README.md: no row {row}"


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    """docs/site/mkdocs.yml lists each page of docs/ once, and the pages at the root that the hook adds."""

    def pages(node: Any) -> list[str]:
        if isinstance(node, str):
            return [node]
        return [page for child in (node.values() if isinstance(node, dict) else node) for page in pages(child)]

    listed = pages(yaml.safe_load((DOCS / "site/mkdocs.yml").read_text())["nav"])
    added = re.findall(r'^    "[^"]+": "([^"]+)",$', (DOCS / "site/hooks.py").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted([*(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")), *added])


def test_architecture_names_every_package() -> None:
    """The tree in docs/architecture.md has each package of adapters/ and service/, and each loose module."""
    tree = (DOCS / "architecture.md").read_text().split("```")[1]
    for folder in ("adapters", "service"):
        for path in (ROOT / folder).iterdir():
            if path.suffix == ".py" or next(path.glob("*.py"), None):
                name = path.name if path.suffix else f"{path.name}/"
                assert name in tree or name.startswith("__"), (
                    f"{folder}/{name} is not in the tree of docs/architecture.md"
                )


CURRENT = [page for page in PAGES if page.parent.name != "decisions" and page.name != "CHANGELOG.md"]  # no history


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    """A path in backticks that begins with a folder of the project leads to a file or a folder."""
    for name in re.findall(r"`((?:adapters|benchmarks|docker|docs|service|tests)/[^`\s:{*]+)`", page.read_text()):
        assert (ROOT / name).exists(), f"{page.relative_to(ROOT)}: no {name}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_in_commands_exist(page: Path) -> None:
    """Each `adakron` command that a page shows has the options that the page gives it."""
    for line in re.findall(r"\badakron ([a-z][^`#|;&()]*)", page.read_text().replace("\\\n", " ")):
        words = line.split("\n")[0].split()
        unknown = set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", " ".join(words))) - known_options(words) - {"--help"}
        assert not unknown, f"{page.relative_to(ROOT)}: adakron {' '.join(words)}: no option {unknown}"
