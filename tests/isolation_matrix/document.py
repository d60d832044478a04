"""The matrix as a page for people: docs/isolation-matrix.md."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.isolation_matrix.matrix import Line

PATH: Final = Path(__file__).parents[2] / "docs" / "isolation-matrix.md"

_HEAD: Final = """# The isolation matrix

What each call of the contract answers to whom. `make isolation-matrix` makes this page from the
answers of a gateway over a real PostgreSQL. `make test` asks everything again and fails when this
page is not what was answered, when a call of the contract has no line, when an answer carries
anything of another tenant, when a foreign thing and a missing one are answered differently in code,
message, details or trailers (apart from the names that the caller itself sent), and when a row of
the other tenant, in whatever table, is not as it was.

- *One's own*: the rightful caller names its own things; for operators' calls an operator does.
- *Another tenant's*: an admin names another tenant's things.
- *Another's id*: the id of another tenant's thing under the caller's own tenant.
- *Missing*: a tenant or an id that nobody has.
- *Role too low*: a role that may not make the call, whatever it names.
- *Revoked key*: and no key at all.

A call without such a case has –; several codes are those of several fields.

| call | one's own | another tenant's | another's id | missing | role too low | revoked key |
| --- | --- | --- | --- | --- | --- | --- |
"""


def page(lines: Sequence[Line]) -> str:
    """Write the page."""
    return _HEAD + "".join(
        f"| `{line.call}` | {line.own} | {line.other_tenant} | {line.other_id} | {line.missing} "
        f"| {line.role_too_low} | {line.revoked_key} |\n"
        for line in lines
    )
