"""A tenant's worker without an engine: Celery's consumer, the recorder's claims, flat pictures."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.transport.broker_places import BrokerPlace
from services.worker.consumer import Consumer
from tests.integration.installation import MODEL, eventually, until_served
from tests.integration.services.recorder.session import Session, drawn, png


@dataclass(slots=True, kw_only=True)
class TokenWorker:
    """Spends each token that it fetches on one question, as a real one does."""

    session: Session
    claim_count: int = 0
    drawn_images: list[str] = field(default_factory=list[str])

    async def until_asked(self, times: int) -> None:
        async def asked() -> bool | None:
            return self.claim_count >= times or None

        await eventually(asked, what=f"{times} questions for work")

    async def until_drawn(self, count: int) -> None:
        async def has_drawn() -> bool | None:
            return len(self.drawn_images) >= count or None

        await eventually(has_drawn, what=f"{count} images drawn")

    def spend(self) -> None:
        """What a token does."""
        client = self.session.client
        work = client.claim(interactive_only=False, nothing_in_flight=True)
        if work is not None:
            self.session.held.add(work.held)
            assert client.finish(drawn(work.held, picture=png(size=work.spec.width)))
            self.session.held.remove(work.held.key)
            self.drawn_images.append(work.held.image_id)
        self.claim_count += 1


@asynccontextmanager
async def token_worker(
    *, broker: BrokerPlace, recorder: Path, model: str = MODEL
) -> AsyncGenerator[TokenWorker]:
    """Fetch tokens for as long as the block lasts; one at a time in a process, as Celery has it."""
    await until_served(recorder)
    worker = TokenWorker(session=Session(recorder, model=model))
    await worker.session.heard()
    consumer = Consumer(broker=broker, queue=model, threads=1, render_image=worker.spend)
    consumer.start()
    try:
        yield worker
    finally:
        await asyncio.to_thread(consumer.stop)
        await asyncio.to_thread(worker.session.close)
