"""Every block of commands in a document is run by a test, or says why not."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.source_tree import ROOT

FOLDERS = ("benchmarks", "deploy", "docker", "docs", "examples", "protos", "sdk", "services")
ADVICE = "mark it: ```sh run (tests/e2e runs it), or ```sh not run: the reason; output is ```text"


def documents_module() -> Any:
    """docs/tools is no package: mkdocs loads its modules by their path."""
    path = ROOT / "docs" / "tools" / "documents.py"
    spec = importlib.util.spec_from_file_location("documents", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written_documents() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md")]
    return [*ROOT.glob("*.md"), *(path for path in found if "node_modules" not in path.parts)]


def test_every_block_of_commands_is_run_or_says_why_not() -> None:
    module = documents_module()
    unmarked = [
        f"{block.document.relative_to(ROOT)}:{block.line}: {ADVICE}"
        for document in written_documents()
        for block in module.shell_blocks(document)
        if not block.runs and not block.reason
    ]

    assert unmarked == []


@pytest.mark.parametrize(
    ("info", "runs", "reason"),
    [
        ("sh run", True, ""),
        ("sh not run: needs a GPU", False, "needs a GPU"),
        ("sh", False, ""),
        ("", False, ""),
    ],
)
def test_a_mark_is_read(tmp_path: Path, info: str, runs: bool, reason: str) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"# Page\n\n```{info}\nmake up\n```\n")

    [block] = documents_module().shell_blocks(document)

    assert (block.line, block.runs, block.reason) == (3, runs, reason)
    assert block.commands == "make up\n"


def test_the_site_shows_blocks_without_their_marks() -> None:
    shown = documents_module().without_marks("```sh not run: needs a GPU\nmake up\n```\n")

    assert shown == "```sh\nmake up\n```\n"
