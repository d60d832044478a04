"""Every call × whose things it names × who asks: what each asker learns.

The calls come from the descriptors, the requests from `calls.py`. What is asked of the answers:
nothing of another tenant in any of them; another's and a missing thing answer alike, word for word
but for the names that the caller itself sent; and whoever may not make a call at all learns nothing
of what exists.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor

from services.gateway.method_rights import RIGHTS
from services.gateway.services_table import SERVICES
from tenants.api_keys import Role
from tests.integration.services.gateway.gateway_fixtures import Client, ServedGateway
from tests.isolation_matrix.answers import Answer, ask
from tests.isolation_matrix.calls import CALLS
from tests.isolation_matrix.templates import at, put, strings
from tests.isolation_matrix.world import NOBODY, Names, Side

# A request for one's own that ends so never reached what it names, and would prove nothing.
_UNREACHED: Final = {"INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "INTERNAL"}
_NONE: Final = "–"

Template = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A call's line in the table: what each kind of request is answered."""

    call: str
    own: str = _NONE
    other_tenant: str = _NONE
    other_id: str = _NONE
    missing: str = _NONE
    role_too_low: str = _NONE
    revoked_key: str = _NONE


@dataclass(slots=True, kw_only=True)
class Matrix:
    """Runs all cells against one gateway; ``problems`` says in sentences what leaked."""

    gateway: ServedGateway
    asker: Side
    # Another tenant, whose admin comes with a token of an identity provider in place of a key.
    person: Side
    other: Side
    # What only operators may do is done to a tenant of its own: it may be suspended by it.
    spare: Side
    # Whoever must not get in: a revoked key, none, tokens that are wrong in one way each.
    strangers: Sequence[Client]
    problems: list[str] = field(default_factory=list[str])
    cell_count: int = 0

    async def run(self) -> list[Line]:
        """Ask everything; one's own comes last, because it may change what is asked for."""
        return [await self._line(method, CALLS[name_of(method)]) for method in methods()]

    async def _line(self, method: MethodDescriptor, template: Template) -> Line:
        roles = RIGHTS[f"/{method.containing_service.full_name}/{method.name}"].roles
        return Line(
            call=name_of(method),
            role_too_low=await self._role_too_low(method, template, roles),
            revoked_key=await self._revoked_key(method, template),
            **(await self._foreign_of_both(method, template) if Role.ADMIN in roles else {}),
            own=await self._own_of_both(method, template, is_operators=Role.ADMIN not in roles),
        )

    async def _own_of_both(
        self, method: MethodDescriptor, template: Template, *, is_operators: bool
    ) -> str:
        if is_operators:
            return await self._own(method, template, self.spare, self.gateway.operator)
        by_key, by_token = [
            await self._own(method, template, side, side.studio.admin)
            for side in (self.asker, self.person)
        ]
        self._expect(method, by_key == by_token, f"by key {by_key}, by token {by_token}")
        return by_key

    async def _foreign_of_both(
        self, method: MethodDescriptor, template: Template
    ) -> dict[str, str]:
        by_key, by_token = [
            await self._foreign(method, template, side) for side in (self.asker, self.person)
        ]
        self._expect(method, by_key == by_token, f"by key {by_key}, by token {by_token}")
        return by_key

    async def _own(
        self, method: MethodDescriptor, template: Template, side: Side, client: Client
    ) -> str:
        answer = await self._ask(client, method, side.names.fill(template))
        self._expect(method, answer.code not in _UNREACHED, f"one's own: {answer.text}")
        if client is not self.gateway.operator:
            self._expect_no_leak(method, answer)
        return answer.code

    async def _foreign(
        self, method: MethodDescriptor, template: Template, asker: Side
    ) -> dict[str, str]:
        """Name another's thing in one field at a time; the other fields stay the asker's own."""
        cells: dict[str, set[str]] = {"other_tenant": set(), "other_id": set(), "missing": set()}
        own_tenant = asker.names.tenant
        for path in naming_fields(template):
            other = await self._ask_about(method, template, asker, path, self.other.names)
            nobody = await self._ask_about(method, template, asker, path, NOBODY)
            cells["other_tenant"].add(other.code)
            cells["missing"].add(nobody.code)
            self._expect(method, other.told == nobody.told, f"{path}: {other.told} {nobody.told}")
            if "{" not in at(template, path).removeprefix("tenants/{tenant}"):
                continue
            other = await self._ask_about(
                method, template, asker, path, self.other.names.of(own_tenant)
            )
            nobody = await self._ask_about(method, template, asker, path, NOBODY.of(own_tenant))
            cells["other_id"].add(other.code)
            cells["missing"].add(nobody.code)
            self._expect(method, other.told == nobody.told, f"{path}: {other.told} {nobody.told}")
        return {cell: ", ".join(sorted(codes)) or _NONE for cell, codes in cells.items()}

    async def _ask_about(
        self, method: MethodDescriptor, template: Template, asker: Side, path: str, names: Names
    ) -> Answer:
        request = asker.names.fill(template)
        put(request, path, at(names.fill(template), path))
        answer = await self._ask(asker.studio.admin, method, request, names)
        self._expect_no_leak(method, answer)
        return answer

    async def _role_too_low(
        self, method: MethodDescriptor, template: Template, roles: frozenset[Role]
    ) -> str:
        keys = {
            Role.MEMBER: self.asker.studio.member,
            Role.ADMIN: self.asker.studio.admin,
            Role.OPERATOR: self.gateway.operator,
        }
        codes = [
            await self._same_for_all(method, template, client)
            for role, client in keys.items()
            if role not in roles
        ]
        self._expect(method, set(codes) <= {"PERMISSION_DENIED"}, f"a role too low: {codes}")
        return codes[0] if codes else _NONE

    async def _revoked_key(self, method: MethodDescriptor, template: Template) -> str:
        codes = [await self._same_for_all(method, template, client) for client in self.strangers]
        self._expect(method, set(codes) == {"UNAUTHENTICATED"}, f"a stranger: {codes}")
        return codes[0]

    async def _same_for_all(
        self, method: MethodDescriptor, template: Template, client: Client
    ) -> str:
        """Whoever may not make the call learns the same, whatever is named."""
        answers = [
            await self._ask(client, method, names.fill(template), names)
            for names in (self.asker.names, self.other.names, NOBODY)
        ]
        told = {answer.told for answer in answers}
        self._expect(method, len(told) == 1, f"depends on what is named: {told}")
        return answers[0].code

    async def _ask(
        self, client: Client, method: MethodDescriptor, request: Template, names: Names = NOBODY
    ) -> Answer:
        self.cell_count += 1
        return await ask(client.channel, method, [request], blotted=names.ids)

    def _expect_no_leak(self, method: MethodDescriptor, answer: Answer) -> None:
        for mark in self.other.marks:
            told = mark in answer.text and mark not in answer.sent
            self._expect(method, not told, f"tells {mark} of another tenant")

    def _expect(self, method: MethodDescriptor, holds: object, what: str) -> None:
        if not holds:
            self.problems.append(f"{name_of(method)}: {what}")


def methods() -> Iterator[MethodDescriptor]:
    """Every call of the public contract, in its order."""
    for service in SERVICES:
        yield from service.methods


def name_of(method: MethodDescriptor) -> str:
    """`JobService/GetJob`."""
    return f"{method.containing_service.name}/{method.name}"


def naming_fields(template: Template) -> list[str]:
    """Paths of a template's fields that name something of a tenant."""
    return [path for path, value in strings(template) if value.startswith("tenants/")]
