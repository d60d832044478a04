"""What `make up` tells somebody whose shell has never heard of Atelier."""

from pathlib import Path

from services.standalone.up import path_lines

PYTHON = Path("/srv/atelier/.venv/bin/python")


def test_a_shell_that_does_not_find_the_command_is_told_where_it_is() -> None:
    lines = path_lines(PYTHON, found=None)

    assert lines == ['  export PATH="/srv/atelier/.venv/bin:$PATH"']


def test_another_installations_command_is_not_taken_for_this_ones() -> None:
    lines = path_lines(PYTHON, found="/usr/local/bin/atelier")

    assert lines == ['  export PATH="/srv/atelier/.venv/bin:$PATH"']


def test_nothing_is_said_where_the_environment_is_active() -> None:
    lines = path_lines(PYTHON, found="/srv/atelier/.venv/bin/atelier")

    assert lines == []
