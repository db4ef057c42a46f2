"""MkDocs hooks: the pages outside docs/ become pages of the site, and links to source files become plain text."""

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent.parent
PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "adapters/pretrained/README.md": "shipped-adapters.md",
    "benchmarks/README.md": "benchmarks.md",
}
SOURCES = {page: source for source, page in PAGES.items()}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the links of the repository as links of the site."""
    own = page.file.src_uri
    source = SOURCES.get(own, f"docs/{own}")

    def rewrite(link: re.Match[str]) -> str:
        mark, text, target, anchor = link.groups()
        if not target or re.match(r"\w+:", target):
            return link.group()
        path = normpath(join(dirname(source), target))
        page = PAGES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
        return f"{mark}[{text}]({relpath(page, dirname(own) or '.')}{anchor or ''})" if page else text

    return LINK.sub(rewrite, markdown)
