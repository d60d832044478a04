"""`make mutants`: break each guard and many lines in turn; some test must notice every time.

Writes what became of each to benchmarks/results/mutants.md.
"""

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg

from database.migration_runner import migrate
from services.standalone.embedded_postgres import start_postgres
from tests.mutants.code_mutants import CODE_MUTANTS, CodeMutant
from tests.mutants.guards import DROP_HELPER, Guard, read_guards
from tests.mutants.rows import undone

ROOT: Final = Path(__file__).parents[2]
RESULT: Final = ROOT / "benchmarks" / "results" / "mutants.md"
_PASSWORD: Final = "for-mutants-only"
_TEST_SECONDS: Final = 600


def main() -> None:
    """Run all mutants and end with 1 if one survived."""
    results = [*schema_results(), *code_results()]
    counts = Counter(outcome for _, outcome in results)
    lines = [
        "# Mutants",
        "",
        f"`make mutants`, {datetime.now(UTC):%Y-%m-%d}: "
        + ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        + ".",
        "",
        "Every CHECK, unique index, trigger and policy of the migrations is dropped in turn, every",
        "policy of one tenant is opened to all, and the code is broken in the places that",
        "`tests/mutants/code_mutants.py` lists. *Held by foreign keys*: an index that foreign keys",
        "point at; PostgreSQL refuses to drop it.",
        "",
        "| mutant | outcome |",
        "| --- | --- |",
        *(f"| {title} | {outcome} |" for title, outcome in results),
        "",
    ]
    RESULT.write_text("\n".join(lines))
    print(f"{dict(counts)}; {RESULT.relative_to(ROOT)}")
    sys.exit(1 if counts["SURVIVED"] else 0)


def schema_results() -> Iterator[tuple[str, str]]:
    """Drop each guard in a transaction that is taken back, and run its probe."""
    directory = Path(tempfile.mkdtemp(prefix="atelier-mutants-"))
    directory.chmod(0o755)
    server = start_postgres(
        data_directory=directory / "data",
        socket_directory=directory / "socket",
        log_path=directory / "postgres.log",
        admin_password=_PASSWORD,
        settings={"fsync": "off"},
    )
    try:
        migrate(server.admin_url, role_passwords={})
        with psycopg.connect(server.admin_url) as connection:
            connection.execute(DROP_HELPER)
            connection.execute("SET session_replication_role = replica")
            for guard in read_guards(connection):
                yield guard.text, _outcome(connection, guard)
            connection.rollback()
    finally:
        server.stop()
        shutil.rmtree(directory)


def _outcome(connection: psycopg.Connection, guard: Guard) -> str:
    if not guard.implied:
        with undone(connection):
            guard.probe(connection)
    try:
        with undone(connection):
            connection.execute(guard.drop)
            guard.probe(connection)
    except psycopg.errors.DependentObjectsStillExist:
        return "held by foreign keys"
    except (AssertionError, psycopg.Error):
        return "killed"
    return "SURVIVED"


def code_results() -> Iterator[tuple[str, str]]:
    """Apply each mutant to a copy of the tree and run the tests that should notice."""
    with tempfile.TemporaryDirectory(prefix="atelier-mutants-") as directory:
        copy = Path(directory)
        tracked = subprocess.run(
            ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
        )
        for name in tracked.stdout.splitlines():
            source = ROOT / name
            # The checkpoint and pictures are large, and no test of money asks for them.
            if source.is_file() and not name.startswith(("deploy/models/", "docs/images/")):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy / name)
        for mutant in CODE_MUTANTS:
            yield f"{mutant.path}: {mutant.title}", _code_outcome(copy, mutant)


def _code_outcome(copy: Path, mutant: CodeMutant) -> str:
    path = copy / mutant.path
    original = path.read_text()
    assert original.count(mutant.old) >= 1, f"{mutant.title}: the place has gone"
    path.write_text(original.replace(mutant.old, mutant.new))
    try:
        tests = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-x",
                "-q",
                "-n",
                "0",
                "-p",
                "no:cacheprovider",
                "-m",
                "not long",
                *(test for test in mutant.tests if (copy / test).exists()),
            ],
            cwd=copy,
            check=False,
            capture_output=True,
            timeout=_TEST_SECONDS,
        )
    finally:
        path.write_text(original)
    print(mutant.title, tests.returncode, flush=True)
    # 1: a test failed. Anything else but 0 is no verdict.
    assert tests.returncode in {0, 1}, tests.stdout.decode()[-2000:]
    return "killed" if tests.returncode == 1 else "SURVIVED"


if __name__ == "__main__":
    main()
