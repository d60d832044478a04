"""Every call between our processes × whose things it names × who calls: what each caller learns.

What is asked of the answers is what the public matrix asks: nothing of another tenant in any of
them; another's and a missing thing alike, word for word but for the names that were sent; and who
has no right to a call learns nothing of what exists.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor

from services.transport.identities import ProcessRole
from tests.isolation_matrix.answers import Answer, ask
from tests.isolation_matrix.internal.calls import CALLS, Entry
from tests.isolation_matrix.internal.contract import methods, name_of
from tests.isolation_matrix.internal.doors import Caller, Doors
from tests.isolation_matrix.internal.world import NOBODY, Names, Side
from tests.isolation_matrix.templates import at, put, strings

_NONE: Final = "–"
# What grpc.aio says when a server answered before the client had sent anything: the answer is lost.
_LOST_ANSWER: Final = "Internal error from Core"
_TRIES_MAX: Final = 50
_TAKEN: Final = "accepted: true"
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A call's line in a table."""

    call: str
    caller: str
    own: str
    another: str = _NONE
    missing: str = _NONE
    no_right: str = _NONE
    stranger: str = _NONE


@dataclass(slots=True, kw_only=True)
class InternalMatrix:
    """Runs all cells by one way of being known; ``problems`` says in sentences what leaked."""

    doors: Doors
    asker: Side
    other: Side
    problems: list[str] = field(default_factory=list[str])
    cell_count: int = 0

    async def run(self) -> list[Line]:
        """Ask everything; one's own comes last in a line, because it may change what is there."""
        lines = [await self._line(call, entry) for call, entry in CALLS.items()]
        return [line for line in lines if line is not None]

    async def _line(self, call: str, entry: Entry) -> Line | None:
        method = method_of(call)
        service = method.containing_service.name
        place = {"tenant": self.asker.tenant_id, "gpu": self.asker.names.values["gpu"]}
        caller = self.doors.rightful(service, entry.caller, **place)
        if caller is None:
            return None
        others = self.doors.others(service, entry.caller, **place)
        strangers = self.doors.strangers(service)
        return Line(
            call=call,
            caller=entry.caller,
            no_right=await self._no_right(call, entry, [*others]),
            stranger=await self._strangers(call, entry, [*strangers]),
            **await self._foreign(call, entry, caller),
            own=await self._own(call, entry, caller),
        )

    async def _own(self, call: str, entry: Entry, caller: Caller) -> str:
        answer = await self._ask(call, caller, self.asker.names.fill(entry.messages))
        reached = answer.code == "OK" and entry.told in answer.text
        self._expect(call, reached, f"one's own: {answer.code} {answer.text}")
        self._expect_no_leak(call, entry, answer)
        return _told_in_short(answer)

    async def _foreign(self, call: str, entry: Entry, caller: Caller) -> dict[str, str]:
        """Name another's thing in one field at a time, and as a worker may, in all of them."""
        fields = naming_fields(entry)
        wholes = [fields] if entry.caller is ProcessRole.WORKER and len(fields) > 1 else []
        another, missing = set[str](), set[str]()
        for paths in [*([path] for path in fields), *wholes]:
            other = await self._ask_about(call, entry, caller, paths, self.other.names)
            nobody = await self._ask_about(call, entry, caller, paths, NOBODY)
            another.add(_told_in_short(other))
            missing.add(_told_in_short(nobody))
            self._expect(call, _TAKEN not in other.text, f"{paths}: another's is taken")
            alike = other.told == nobody.told
            self._expect(call, alike, f"{paths}: {other.told} | {nobody.told}")
        return {"another": _cell(another), "missing": _cell(missing)}

    async def _ask_about(
        self, call: str, entry: Entry, caller: Caller, paths: list[str], names: Names
    ) -> Answer:
        messages = self.asker.names.fill(entry.messages)
        foreign = names.fill(entry.messages)
        for path in paths:
            put(messages, path, at(foreign, path))
        answer = await self._ask(call, caller, messages, names)
        self._expect_no_leak(call, entry, answer)
        return answer

    async def _no_right(self, call: str, entry: Entry, others: list[Caller]) -> str:
        """Whoever may not make the call learns the same, whatever is named."""
        for other in others:
            answers = [
                await self._ask(call, other, names.fill(entry.messages), names)
                for names in (self.asker.names, self.other.names, NOBODY)
            ]
            told = {answer.told for answer in answers}
            self._expect(call, len(told) == 1, f"{other.name}: depends on what is named: {told}")
            codes = {answer.code for answer in answers}
            self._expect(call, codes == {self.doors.refusal}, f"{other.name}: {codes}")
        return self.doors.refusal if others else _NONE

    async def _strangers(self, call: str, entry: Entry, strangers: list[Caller]) -> str:
        """No handshake: nothing that they name is read by anybody."""
        codes = {
            (await self._ask(call, stranger, self.other.names.fill(entry.messages))).code
            for stranger in strangers
        }
        self._expect(call, codes <= {"UNAVAILABLE"}, f"strangers: {codes}")
        return _cell(codes)

    async def _ask(
        self,
        call: str,
        caller: Caller,
        messages: list[Mapping[str, Any]],
        names: Names = NOBODY,
    ) -> Answer:
        self.cell_count += 1
        for _ in range(_TRIES_MAX):
            answer = await ask(caller.channel, method_of(call), messages, blotted=names.ids)
            if _LOST_ANSWER not in answer.text:
                return answer
        raise AssertionError(f"{call}: no answer was read")

    def _expect_no_leak(self, call: str, entry: Entry, answer: Answer) -> None:
        for mark in self.other.marks:
            if mark == self.other.names.values["gpu"] and entry.caller is not ProcessRole.WORKER:
                # The system knows its devices; which tenant is on one would be told by other marks.
                continue
            told = mark in answer.text and mark not in answer.sent
            self._expect(call, not told, f"tells {mark} of another tenant")

    def _expect(self, call: str, holds: object, what: str) -> None:
        if not holds:
            self.problems.append(f"{call}: {what}")


def method_of(call: str) -> MethodDescriptor:
    """The method that an entry is for; what stands in brackets says how it is called."""
    name = call.partition(" ")[0]
    return next(method for method in methods() if name_of(method) == name)


def naming_fields(entry: Entry) -> list[str]:
    """Paths of the fields that name something which may be another's."""
    return [
        path
        for path, value in strings(entry.messages)
        if _PLACEHOLDER.findall(value)
        and not {*_PLACEHOLDER.findall(value)} <= {"now", "before"}
        and unnumbered(path) not in entry.free
    ]


def unnumbered(path: str) -> str:
    """A path as the contract has it: without the numbers of messages and of items in lists."""
    return ".".join(step for step in path.split(".") if not step.isdigit())


def _told_in_short(answer: Answer) -> str:
    """The code, and of an end of an attempt whether it was taken."""
    if _TAKEN in answer.text:
        return "taken"
    return "not taken" if "state: " in answer.text else answer.code


def _cell(codes: set[str]) -> str:
    return ", ".join(sorted(codes)) or _NONE
