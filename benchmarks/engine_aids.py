"""What benchmarks of the engine share: nobody measures energy, nobody watches."""

from services.engine.drawn import Progress
from services.engine.marks import Mark, MarkKind


class NoMarks:
    """A sink that forgets."""

    def begin(self, kind: MarkKind, start_nanos: int) -> None:
        pass

    def end(self, mark: Mark) -> None:
        pass


def ignore(progress: Progress) -> None:
    """A progress callback that does nothing."""
