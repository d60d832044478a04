"""`make mutants`: break each guard and many lines in turn; some test must notice every time.

    python -m tests.mutants [--minutes 3]

What became of each is written to `.mutants/` as soon as it is known: a run may be broken off and
goes on at the next call (exit code 75: not at its end yet). At the end everything stands in
benchmarks/results/mutants.md.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg

from database.migration_runner import migrate
from database.roles import RUN_TIME_ROLES
from services.standalone.embedded_postgres import start_postgres
from tests.integration.fixture_types import PASSWORD
from tests.mutants.code_runs import code_results
from tests.mutants.guards import DROP_HELPER, Guard, read_guards
from tests.mutants.progress import (
    ROOT,
    OutOfTimeError,
    Progress,
    commit_of_this_tree,
    progress_of_this_tree,
)
from tests.mutants.rows import undone

RESULT: Final = ROOT / "benchmarks" / "results" / "mutants.md"


def main() -> None:
    """Run all mutants and end with 1 if one survived."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="then break off")
    progress = progress_of_this_tree(seconds=60 * parser.parse_args().minutes)
    try:
        with migrated_server() as admin_url:
            results = [*schema_results(admin_url, progress), *code_results(admin_url, progress)]
    except OutOfTimeError:
        print(f"not at the end; call again to go on ({progress.path.relative_to(ROOT)})")
        sys.exit(os.EX_TEMPFAIL)
    counts = Counter(outcome for _, outcome in results)
    RESULT.write_text(_report(results, counts))
    print(f"{dict(counts)}; {RESULT.relative_to(ROOT)}")
    sys.exit(1 if counts["SURVIVED"] else 0)


@contextmanager
def migrated_server() -> Generator[str]:
    """A PostgreSQL for the whole run; its database is as the migrations leave it."""
    directory = Path(tempfile.mkdtemp(prefix="atelier-mutants-"))
    directory.chmod(0o755)
    server = start_postgres(
        data_directory=directory / "data",
        socket_directory=directory / "socket",
        log_path=directory / "postgres.log",
        admin_password=PASSWORD,
        settings={"fsync": "off"},
    )
    try:
        migrate(server.admin_url, role_passwords=dict.fromkeys(RUN_TIME_ROLES, PASSWORD))
        yield server.admin_url
    finally:
        server.stop()
        shutil.rmtree(directory)


def schema_results(admin_url: str, progress: Progress) -> Iterator[tuple[str, str]]:
    """Drop each guard in a transaction that is taken back, and run its probe."""
    with psycopg.connect(admin_url) as connection:
        connection.execute(DROP_HELPER)
        connection.execute("SET session_replication_role = replica")
        for guard in read_guards(connection):
            yield progress.outcome(guard.text, lambda guard=guard: _outcome(connection, guard))
        connection.rollback()


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


def _report(results: Sequence[tuple[str, str]], counts: Counter[str]) -> str:
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    lines = [
        "# Mutants",
        "",
        f"`make mutants`, {datetime.now(UTC):%Y-%m-%d}, commit {commit_of_this_tree()}: {told}.",
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
    return "\n".join(lines)


if __name__ == "__main__":
    main()
