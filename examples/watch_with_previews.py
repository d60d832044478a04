"""Watch one picture become, in a program with an event loop: `python … FOLDER`."""

import asyncio
import sys
from pathlib import Path

import atelier


async def main(folder: Path) -> None:
    """Draw it, telling how it gets on."""
    async with atelier.AsyncClient() as client:
        spec = atelier.ImageSpec(prompt="a photo of a yellow chair")
        chunks: list[bytes] = []
        async for news in client.stream_image(spec, previews=True):
            if news.HasField("progress"):
                print(f"step {news.progress.step} of {news.progress.step_count}")
            elif news.HasField("file"):
                # After a broken connection the bytes begin anew.
                chunks.clear()
            elif news.HasField("chunk"):
                chunks.append(news.chunk)
        (folder / "chair.png").write_bytes(b"".join(chunks))


asyncio.run(main(Path(*sys.argv[1:2])))
