import re
from pathlib import Path

from services.gateway.servicers import SERVICER_TYPES
from services.gateway.services_table import not_implemented_calls

README = Path(__file__).resolve().parents[4] / "README.md"
HEADING = "## Calls that are not built yet"


def test_the_readme_lists_the_calls_that_answer_unimplemented() -> None:
    section = README.read_text().partition(HEADING)[2].partition("\n## ")[0]
    listed = re.findall(r"- `(\w+Service)`: ((?:.|\n  )+)", section)

    calls = {
        f"/atelier.v1.{service}/{call}"
        for service, names in listed
        for call in re.findall(r"`(\w+)`", names)
    }

    assert calls == not_implemented_calls(SERVICER_TYPES)
