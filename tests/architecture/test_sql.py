"""SQL and Python agree: every named query is used, every one asked for exists."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.architecture.source_tree import ROOT, SERVER_PACKAGES, written_files

QUERY_HEADER = re.compile(r"^--\s*name:\s*(\w+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryFile:
    """One `.sql` file and the module beside it."""

    sql_path: Path

    @property
    def module_path(self) -> Path:
        return self.sql_path.with_suffix(".py")

    def names(self) -> list[str]:
        return QUERY_HEADER.findall(self.sql_path.read_text())

    def names_asked_for(self) -> set[str]:
        """The constants in `QUERIES["..."]`, whatever the loaded queries are called."""
        tree = ast.parse(self.module_path.read_text())
        loaded = {name for name in map(assigned_queries, ast.walk(tree)) if name}
        return {
            node.slice.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id in loaded
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
        }


def assigned_queries(node: ast.AST) -> str | None:
    """The name that `load_queries(__file__)` is bound to, if the node binds it."""
    if isinstance(node, ast.Assign) and calls_load_queries(node.value):
        target = node.targets[0]
    elif isinstance(node, ast.AnnAssign) and calls_load_queries(node.value):
        target = node.target
    else:
        return None
    return target.id if isinstance(target, ast.Name) else None


def calls_load_queries(value: ast.expr | None) -> bool:
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id == "load_queries"
    )


def query_files() -> list[QueryFile]:
    migrations = ROOT / "database" / "migrations"
    paths = [
        path for package in SERVER_PACKAGES for path in sorted((ROOT / package).rglob("*.sql"))
    ]
    return [QueryFile(sql_path=p) for p in sorted(paths) if not p.is_relative_to(migrations)]


def name_of(file: object) -> str:
    assert isinstance(file, QueryFile)
    return str(file.sql_path.relative_to(ROOT))


@pytest.mark.parametrize("file", query_files(), ids=name_of)
def test_a_sql_file_lies_beside_a_module_of_its_name(file: QueryFile) -> None:
    assert file.module_path.exists()


@pytest.mark.parametrize("file", query_files(), ids=name_of)
def test_a_query_name_stands_once_in_its_file(file: QueryFile) -> None:
    names = file.names()

    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("file", query_files(), ids=name_of)
def test_every_query_is_used_and_every_one_asked_for_exists(file: QueryFile) -> None:
    assert sorted(file.names()) == sorted(file.names_asked_for())


def test_tables_are_made_in_migrations_alone() -> None:
    makes_tables = re.compile(
        r"\b(CREATE|ALTER|DROP)\s+(TABLE|POLICY|INDEX|TYPE|VIEW)\b", re.IGNORECASE
    )
    found = [file for file in query_files() if makes_tables.search(file.sql_path.read_text())]

    assert [name_of(file) for file in found] == []


def test_no_module_writes_sql_between_its_lines() -> None:
    # A statement in Python is neither read nor checked as SQL; database/ itself speaks a few words
    # to the server (SET ROLE, set_config), and a test may ask what it likes.
    statement = re.compile(r"^\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH)\s", re.DOTALL)
    paths = [p for p in written_files(*SERVER_PACKAGES) if not p.is_relative_to(ROOT / "database")]
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and statement.match(node.value)
    ]

    assert found == []
