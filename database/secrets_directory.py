"""Where secrets lie as files, which is how containers get them: for all with a database role."""

import os
from typing import Final

_VARIABLE: Final = "ATELIER_SECRETS_DIRECTORY"


def secrets_directory() -> str | None:
    """Return the folder whose files are named as the settings, `atelier_fleet_database_url`.

    None: secrets come in the environment.
    """
    return os.environ.get(_VARIABLE)
