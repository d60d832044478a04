"""What the fleet notes about the processes it started, for the fleet that comes after it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from services.fleet.posts import Post
from tenants.launchers.child_process import ChildProcess
from tenants.launchers.worker_launcher import StartedWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerNote:
    """Whose broker runs as which process."""

    tenant_id: str
    child: ChildProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerNote:
    """Which post a worker holds."""

    post: Post
    started: StartedWorker


Note = TypeVar("Note", BrokerNote, WorkerNote)


class NoteFolder(Generic[Note]):
    """One file per process, each written in one step: it is whole or not there."""

    def __init__(self, path: Path, note_type: type[Note]) -> None:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._adapter: TypeAdapter[Note] = TypeAdapter(note_type)

    def write(self, name: str, note: Note) -> None:
        unfinished = self._path / f"{name}.unfinished"
        unfinished.write_bytes(self._adapter.dump_json(note))
        unfinished.replace(self._path / f"{name}.json")

    def remove(self, name: str) -> None:
        (self._path / f"{name}.json").unlink(missing_ok=True)

    def read_all(self) -> Iterator[Note]:
        """Yield the notes; one that cannot be read is of another version and is left out."""
        for path in sorted(self._path.glob("*.json")):
            try:
                yield self._adapter.validate_json(path.read_bytes())
            except ValidationError:
                continue
