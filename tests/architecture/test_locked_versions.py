"""What the lock file names can be installed by every Python that the project promises."""

from importlib.metadata import distributions

from packaging.specifiers import SpecifierSet

# Debian 12's; the environment of whoever locks is often a newer 3.11.
OLDEST_PYTHON = "3.11.2"


def test_every_package_of_the_environment_runs_on_the_oldest_python() -> None:
    needs = {
        f"{one.metadata['Name']} {one.version}": one.metadata["Requires-Python"] or ""
        for one in distributions()
    }

    assert needs
    assert {
        name: python
        for name, python in needs.items()
        if not SpecifierSet(python).contains(OLDEST_PYTHON)
    } == {}
