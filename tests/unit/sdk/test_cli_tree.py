"""Every command of the tree: help, formats, wrong use, completion."""

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from atelier.cli.main import atelier, run
from atelier.cli.output import OutputFormat

# What the design promises, whatever else there is.
PROMISED = {
    "login",
    "generate",
    "jobs create",
    "jobs list",
    "jobs get",
    "jobs watch",
    "jobs cancel",
    "jobs download",
    "usage",
    "usage export",
    "invoices list",
    "invoices get",
    "invoices download",
    "keys create",
    "keys list",
    "keys rotate",
    "keys revoke",
    "admin tenants create",
    "admin tenants list",
    "admin prices create",
    "admin prices list",
    "admin prices simulate",
    "admin gpus list",
    "admin credit grant",
    "admin doctor",
    "doctor",
    "completion",
}


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if path:
        yield " ".join(path), command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from walk(child, (*path, name))


TREE = dict(walk(atelier))
LEAVES = {path: one for path, one in TREE.items() if not isinstance(one, click.Group)}


def test_what_the_design_promises_is_there() -> None:
    assert PROMISED - TREE.keys() == set()


@pytest.mark.parametrize("path", TREE)
def test_every_command_has_help_and_so_has_each_option(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*path.split(), "-h"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: atelier {path}")
    assert (TREE[path].help or "").partition("\n")[0].rstrip(":").strip()
    silent = [
        option.opts
        for option in TREE[path].params
        if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []


@pytest.mark.parametrize("path", sorted(LEAVES.keys() - {"completion"}))
def test_every_command_prints_as_a_table_and_as_json(path: str) -> None:
    [option] = [one for one in LEAVES[path].params if "--format" in one.opts]

    assert isinstance(option.type, click.Choice)
    assert set(option.type.choices) == {choice.value for choice in OutputFormat}


@pytest.mark.parametrize("path", LEAVES)
def test_an_option_that_does_not_exist_ends_with_2(path: str) -> None:
    assert run([*path.split(), "--no-such-option"]) == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_is_told_how_to_complete(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["completion", shell]) == 0
    assert "_ATELIER_COMPLETE" in capsys.readouterr().out


def test_a_shell_completes_commands_and_choices() -> None:
    assert {"create", "list", "watch"} <= completed("atelier jobs ")
    assert completed("atelier usage export --kind p") == {"parquet"}


def completed(line: str) -> set[str]:
    """Ask as bash does: the words of the line, and which of them is being typed."""
    words = line.split(" ")
    finished = subprocess.run(
        [sys.executable, "-c", "from atelier.cli.main import main; main()"],
        env={
            **os.environ,
            "_ATELIER_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return {answer.partition(",")[2] for answer in finished.stdout.splitlines()}
