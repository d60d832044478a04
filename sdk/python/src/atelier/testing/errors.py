"""What can stand in the way of a local installation."""

from atelier.errors import AtelierError


class ServersMissingError(AtelierError):
    """The servers are not installed beside this library."""

    def __init__(self, python: str) -> None:
        super().__init__(
            f"{python} has no Atelier servers: check the repository out and run `make setup` there,"
            " then use its .venv/bin/python, or `pip install -e '.[standalone]' -e sdk/python`"
        )


class InstallationStartError(AtelierError):
    """The installation ended, or was not ready in time; with the end of what it said."""
