"""The documents speak of files that exist."""

import re
from pathlib import Path

import pytest

from tests.architecture.source_tree import ROOT

LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)]*)?\)")
DOCUMENT_FOLDERS = ("docs", "services", "sdk", "examples", "deploy", "docker", "protos")


def documents() -> list[Path]:
    found = [path for folder in DOCUMENT_FOLDERS for path in (ROOT / folder).rglob("*.md")]
    written = [path for path in found if "node_modules" not in path.parts]
    return sorted([*ROOT.glob("*.md"), *written])


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    targets = LINK.findall(document.read_text())

    assert [t for t in targets if not (document.parent / t).resolve().exists()] == []


def test_every_decision_is_in_the_list_of_decisions() -> None:
    decisions = ROOT / "docs" / "decisions"
    listed = LINK.findall((decisions / "README.md").read_text())

    pages = [path.name for path in decisions.glob("[0-9]*.md")]

    assert sorted(listed) == sorted(pages)


def test_decisions_are_numbered_without_gap_or_double() -> None:
    pages = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))

    assert [page[:4] for page in pages] == [f"{n:04d}" for n in range(1, len(pages) + 1)]
