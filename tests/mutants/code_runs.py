"""Each mutant of the code in a copy of the tree, with the tests that should notice.

All share one PostgreSQL; each gets a database that is copied from one that was migrated once.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
from psycopg import conninfo, sql

from tests.mutants.code_mutants import CODE_MUTANTS, CodeMutant
from tests.mutants.progress import ROOT, Progress, tracked_files

_TEST_SECONDS: Final = 900
# What pytest ends with; anything else is no verdict.
_PASSED, _FAILED = 0, 1


def code_results(admin_url: str, progress: Progress) -> Iterator[tuple[str, str]]:
    """Try every mutant; ``admin_url`` names the migrated database to copy, which nobody uses."""
    with tempfile.TemporaryDirectory(prefix="atelier-mutants-") as directory:
        tree = Path(directory)
        if any(progress.known(mutant.full_title) is None for mutant in CODE_MUTANTS):
            _copy_tree(tree)
        for mutant in CODE_MUTANTS:
            yield progress.outcome(
                mutant.full_title, lambda mutant=mutant: _outcome(tree, mutant, admin_url)
            )


def _copy_tree(tree: Path) -> None:
    for name in tracked_files():
        # The checkpoint and pictures are large, and no test of money asks for them.
        if not name.startswith(("deploy/models/", "docs/images/")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def _outcome(tree: Path, mutant: CodeMutant, admin_url: str) -> str:
    path = tree / mutant.path
    original = path.read_text()
    assert original.count(mutant.old) >= 1, f"{mutant.title}: the place has gone"
    _copy_database(admin_url)
    path.write_text(original.replace(mutant.old, mutant.new))
    try:
        tests = subprocess.run(
            [sys.executable, *_PYTEST, *(test for test in mutant.tests if (tree / test).exists())],
            cwd=tree,
            env={**os.environ, "ATELIER_TEST_DATABASE_URL": _copied(admin_url)},
            check=False,
            capture_output=True,
            timeout=_TEST_SECONDS,
        )
    finally:
        path.write_text(original)
    assert tests.returncode in {_PASSED, _FAILED}, tests.stdout.decode()[-2000:]
    return "killed" if tests.returncode == _FAILED else "SURVIVED"


# Nobody reads the shortest example that kills a mutant: Hypothesis need not look for it.
_PYTEST: Final = (
    *("-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", "not long"),
    "--hypothesis-profile=mutants",
)


def _copied(admin_url: str) -> str:
    return conninfo.make_conninfo(admin_url, dbname="mutant")


def _copy_database(admin_url: str) -> None:
    """Begin from rows that no mutant has written."""
    with psycopg.connect(
        conninfo.make_conninfo(admin_url, dbname="postgres"), autocommit=True
    ) as admin:
        admin.execute("DROP DATABASE IF EXISTS mutant WITH (FORCE)")
        name = conninfo.conninfo_to_dict(admin_url)["dbname"]
        admin.execute(
            sql.SQL("CREATE DATABASE mutant TEMPLATE {}").format(sql.Identifier(str(name)))
        )
