"""How attempts ended, counted since the recorder started."""

from collections import Counter
from typing import Final

from metering.energy_source import EnergySource
from services.jobs.finishes import FinishAnswer
from services.jobs.image_states import ImageState

_AFTER_AN_ATTEMPT: Final = (
    ImageState.SUCCEEDED,
    ImageState.FAILED,
    ImageState.CANCELLED,
    ImageState.QUEUED,
)


class FinishTally:
    """Counts an image's move once, however often its worker tells of it."""

    def __init__(self) -> None:
        self.ended: Counter[ImageState] = Counter(dict.fromkeys(_AFTER_AN_ATTEMPT, 0))
        self.pictures: Counter[EnergySource] = Counter(dict.fromkeys(EnergySource, 0))
        self.spool_failures = 0

    def note(self, answer: FinishAnswer) -> FinishAnswer:
        """Count an answer whose transaction is for good; returns it."""
        if answer.moved_now:
            self.ended[answer.state] += 1
        return answer

    def note_picture(self, answer: FinishAnswer, source: EnergySource) -> FinishAnswer:
        """Count a picture, with where its energy comes from."""
        if answer.moved_now:
            self.pictures[source] += 1
        return self.note(answer)
