"""The documents call the command line as it is: commands that exist, with options they have."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from atelier.cli.main import atelier
from tests.architecture.test_documents import documents, name_of

COMMAND_IN_TEXT = re.compile(r"`(atelier [^`|]+)[^`]*`")
COMMAND_LINE = re.compile(r"^ *(?:[A-Z_]+=\S+ )*(atelier [^|>\n]+)", re.MULTILINE)
OPTION_IN_TEXT = re.compile(r"`(--[a-z-]+)[^`]*`")
# What the documents say of other programs.
OPTIONS_OF_OTHERS = {
    "atelier-gateway": {"--another"},
    "atelier-worker": {"--accept-licence", "--modulation"},
    "benchmarks": {"--backend", "--pin", "--rehearse", "--sheet"},
}


# A changelog also speaks of what a command was called then.
DOCUMENTS = [document for document in documents() if document.name != "CHANGELOG.md"]


def called(document: Path) -> Iterator[str]:
    text = document.read_text()
    for pattern in (COMMAND_IN_TEXT, COMMAND_LINE):
        yield from pattern.findall(text)


def what_is_wrong(call: str) -> str | None:
    """Name the word of a call that the command line does not know."""
    return unknown_word(atelier, shlex.split(call, comments=True)[1:])


def unknown_word(command: click.Command, words: list[str]) -> str | None:
    if isinstance(command, click.Group) and words and not words[0].startswith("-"):
        child = command.commands.get(words[0])
        return unknown_word(child, words[1:]) if child else words[0]
    known = options_of(command)
    return next((word for word in words if word.startswith("-") and word not in known), None)


def options_of(command: click.Command) -> set[str]:
    named = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    return {*named, "--help", "-h"}


def all_options(command: click.Command = atelier) -> set[str]:
    children = command.commands.values() if isinstance(command, click.Group) else ()
    return options_of(command).union(*(all_options(child) for child in children))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_call_in_a_document_is_one_that_the_command_line_knows(document: Path) -> None:
    wrong = {call: word for call in called(document) if (word := what_is_wrong(call))}

    assert wrong == {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_option_that_a_document_names_by_itself_exists(document: Path) -> None:
    known = all_options().union(*OPTIONS_OF_OTHERS.values())

    assert set(OPTION_IN_TEXT.findall(document.read_text())) - known == set()


def test_a_command_and_an_option_that_are_not_there_are_noticed() -> None:
    assert what_is_wrong("atelier admin workers paint") == "paint"
    assert what_is_wrong("atelier admin workers list --output json") == "--output"
    assert what_is_wrong("atelier jobs create --from campaign.csv --quote  # at most?") is None
