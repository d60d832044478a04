"""What holds for every test: no model hub, and Hypothesis without a stopwatch."""

import os
from pathlib import Path

import pytest
from hypothesis import Phase, settings

# Must be set before huggingface_hub is imported by whoever imports it first.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

# Two cores may be shared by several test processes: a slow example is no bug. Continuous
# integration tries the same examples every time, so that what turns red there is the change; new
# ones are found on the machines of those who develop.
settings.register_profile(
    "atelier", deadline=None, max_examples=100, derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("atelier")
# Of a mutant it is enough to know that it was noticed.
settings.register_profile(
    "mutants", deadline=None, max_examples=100, phases=[Phase.explicit, Phase.generate]
)

_MARKED_FOLDERS = ("integration", "e2e", "containers", "browser")


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark of tests that `make test` leaves to `make test-long`."""
    config.addinivalue_line("markers", "long: takes minutes; `make test-long`")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test is what its folder says: `-m "not e2e"` needs no mark in each file."""
    here = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        if folder in _MARKED_FOLDERS:
            item.add_marker(folder)
