"""The project's own source files and what they import, read without importing them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVER_PACKAGES = ("database", "metering", "services", "tenants")
GENERATED = (ROOT / "services" / "internal", ROOT / "sdk" / "python" / "src" / "atelier" / "v1")
SDK_SOURCES = ROOT / "sdk" / "python" / "src"


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One name that one file imports, absolute: `from a.b import c` is `a.b.c`."""

    path: Path
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.name}"

    def is_of(self, *packages: str) -> bool:
        return any(self.name == p or self.name.startswith(f"{p}.") for p in packages)


def written_files(*folders: str) -> Iterator[Path]:
    """Python files below the folders that a person wrote."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            generated = any(path.is_relative_to(place) for place in GENERATED)
            if not generated and "node_modules" not in path.parts:
                yield path


def imports_of(*paths: Path) -> Iterator[Import]:
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(path=path, line=node.lineno, name=alias.name)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    yield Import(path=path, line=node.lineno, name=f"{node.module}.{alias.name}")


def is_docstring_only(path: Path) -> bool:
    body = ast.parse(path.read_text()).body
    return len(body) <= 1 and all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body
    )
