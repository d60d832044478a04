"""What lies where: the folders of the architecture page, and their names."""

import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.source_tree import (
    ROOT,
    SERVER_PACKAGES,
    is_docstring_only,
    written_files,
)

NOT_CODE = ("benchmarks", "deploy", "docker", "docs", "examples", "protos", "tests")


def relative(paths: list[Path]) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def test_no_folder_that_is_not_code_is_a_package() -> None:
    # With an __init__.py, our docker/ would shadow the Docker SDK, our tests/ somebody's tests.
    packages = [path for folder in NOT_CODE for path in (ROOT / folder).rglob("__init__.py")]

    assert relative([path for path in packages if "node_modules" not in path.parts]) == []


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path in written_files(*SERVER_PACKAGES)}
    missing = [folder for folder in folders if not (folder / "__init__.py").exists()]

    assert relative(missing) == []


def test_no_package_is_empty() -> None:
    packages = [p.parent for p in written_files(*SERVER_PACKAGES) if p.name == "__init__.py"]
    empty = [p for p in packages if not any(f.name != "__init__.py" for f in p.rglob("*.py"))]

    assert relative(empty) == []


def test_an_init_file_holds_a_docstring_and_nothing_else() -> None:
    inits = [path for path in written_files(*SERVER_PACKAGES) if path.name == "__init__.py"]

    assert relative([path for path in inits if not is_docstring_only(path)]) == []


def test_no_module_has_the_name_of_one_of_the_standard_library() -> None:
    # __main__ is Python's own name for what `python -m` runs; types and errors would shadow nothing
    # inside a package, but their tracebacks and imports read as if they did.
    modules = [path for path in written_files(*SERVER_PACKAGES) if path.name != "__init__.py"]
    named_alike = [
        path for path in modules if path.stem in sys.stdlib_module_names and path.stem != "__main__"
    ]

    assert relative(named_alike) == []


def test_basedpyright_is_strict_for_every_package_but_the_engine() -> None:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["basedpyright"]
    strict = set(configuration["strict"])
    services = {
        f"services/{path.name}"
        for path in (ROOT / "services").iterdir()
        if path.is_dir() and any(path.glob("*.py")) and path.name not in {"engine", "internal"}
    }

    assert sorted((services | {"database", "metering", "tenants"}) - strict) == []


@pytest.mark.parametrize("forbidden", ["/ho" + "me/", "/ro" + "ot/", "/wo" + "rk/"])
def test_no_file_names_a_place_of_one_persons_machine(forbidden: str) -> None:
    # Split above so that this file does not find itself.
    texts = [*written_files(*SERVER_PACKAGES, "sdk", "tests", "examples", "protos")]
    texts += [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Makefile"]

    assert relative([path for path in texts if forbidden in path.read_text()]) == []
