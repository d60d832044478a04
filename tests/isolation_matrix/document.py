"""The matrix as a page for people: docs/isolation-matrix.md."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.isolation_matrix.internal.matrix import Line as InternalLine
from tests.isolation_matrix.matrix import Line

PATH: Final = Path(__file__).parents[2] / "docs" / "isolation-matrix.md"

_HEAD: Final = """# The isolation matrix

What each call of the contract answers to whom. `make isolation-matrix` makes this page from the
answers of a gateway over a real PostgreSQL. `make test` asks everything again and fails when this
page is not what was answered, when a call of the contract has no line, when an answer carries
anything of another tenant, when a foreign thing and a missing one are answered differently in code,
message, details or trailers (apart from the names that the caller itself sent), and when a row of
the other tenant, in whatever table, is not as it was.

What an admin asks is asked by an admin's key and by an admin who comes with a signed token of an
identity provider; where their answers differ, it fails too.

- *One's own*: the rightful caller names its own things; for operators' calls an operator does.
- *Another tenant's*: an admin names another tenant's things.
- *Another's id*: the id of another tenant's thing under the caller's own tenant.
- *Missing*: a tenant or an id that nobody has.
- *Role too low*: a role that may not make the call, whatever it names.
- *Stranger*: with a revoked key, without any, and with a token that has expired, that was made for
  another audience, that is bound to no tenant, or that somebody else has signed.

A call without such a case has –; several codes are those of several fields.

| call | one's own | another tenant's | another's id | missing | role too low | stranger |
| --- | --- | --- | --- | --- | --- | --- |
"""


_INTERNAL_TITLE: Final = "## Between our own processes\n"
_INTERNAL_HEAD: Final = f"""{_INTERNAL_TITLE}
What workers, meter, gateway, fleet and KEDA may ask of recorder, meter and fleet. The calls come
from the descriptors of `services.internal`; the answers from a recorder and a meter as processes,
real sockets, real certificates and real rows. The same is asked as above, and nothing else is let
pass.

- *Rightful caller*: who the call is for; the socket or certificate says so, never a message.
- *Another's*: the rightful caller names another tenant's session, image, token, device: one at a
  time, and all of them together where a worker calls.
- *Missing*: names that nobody has.
- *No right*: everybody else whom the system knows, whatever is named.
- *No identity*: no certificate, none of our authority's, an expired one, no TLS.

The end of an attempt is answered with OK and whether it was *taken*. A call for the system, which
serves all tenants, has no *another's* for the tenant itself.
"""
_SOCKETS_HEAD: Final = """
### On one host, by the socket

Every socket is called with every call, also those of other services. Who is not in a socket's group
is kept out by the kernel: real users try each in
[test_internal_matrix.py](../tests/integration/services/transport/test_internal_matrix.py).

| call | rightful caller | its own | another's | missing | no right |
| --- | --- | --- | --- | --- | --- |
"""
_CERTIFICATES_HEAD: Final = """
### Beyond one host, by the certificate

Every role calls, this tenant's and the other's, and names of other forms signed by our authority.

| call | rightful caller | its own | another's | missing | no right | no identity |
| --- | --- | --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The page, in the parts that are made by a test each."""

    public: str
    internal: str


def read() -> Parts:
    """Read the page that there is."""
    public, title, internal = PATH.read_text().partition(f"\n{_INTERNAL_TITLE}")
    return Parts(public=public, internal=title.lstrip("\n") + internal)


def write(**parts: str) -> None:
    """Write the page with some parts as they are given and the others as they were."""
    page = replace(read(), **parts)
    PATH.write_text(f"{page.public}\n{page.internal}")


def public_part(lines: Sequence[Line]) -> str:
    """Tell what strangers can call."""
    return _HEAD + "".join(
        f"| `{line.call}` | {line.own} | {line.other_tenant} | {line.other_id} | {line.missing} "
        f"| {line.role_too_low} | {line.revoked_key} |\n"
        for line in lines
    )


def internal_part(*, sockets: Sequence[InternalLine], certificates: Sequence[InternalLine]) -> str:
    """Tell what our own processes can call."""
    return (
        _INTERNAL_HEAD
        + _SOCKETS_HEAD
        + "".join(f"{_row(line)}\n" for line in sockets)
        + _CERTIFICATES_HEAD
        + "".join(f"{_row(line)} {line.stranger} |\n" for line in certificates)
    )


def _row(line: InternalLine) -> str:
    return (
        f"| `{line.call}` | {line.caller} | {line.own} | {line.another} | {line.missing} "
        f"| {line.no_right} |"
    )
