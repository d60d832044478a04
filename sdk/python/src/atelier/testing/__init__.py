"""Develop against a real Atelier on your own machine: no fake, nothing left running.

```python
from atelier.testing import local_installation

with local_installation() as installation:
    studio = installation.open_studio("acme")
    with studio.client() as client:
        [picture] = client.generate("a red mug")
```

For pytest, name the fixtures in `conftest.py`: `pytest_plugins = ["atelier.testing.fixtures"]`.
The servers must be installed in the same environment; without them `ServersMissingError` says how.
"""

from atelier.testing.errors import InstallationStartError, ServersMissingError
from atelier.testing.installation import LocalInstallation, local_installation
from atelier.testing.studio import Studio

__all__ = [
    "InstallationStartError",
    "LocalInstallation",
    "ServersMissingError",
    "Studio",
    "local_installation",
]
