"""A job followed to its end: progress on the standard error, pictures into a folder."""

import sys
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from atelier.cli.columns import image_state_word, job_state_word
from atelier.client import Client
from atelier.job_states import image_came, image_is_finished, job_needs_nobody
from atelier.names import last_id
from atelier.v1.image_pb2 import Image, ImageProgress
from atelier.v1.job_service_pb2 import Job, WatchJobResponse

_DOWNLOADS_AT_A_TIME = 4
_BARS_MAX = 8
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def follow_job(client: Client, job: Job, *, output_folder: Path | None) -> Job:
    """Show a job's progress until nothing more happens by itself; download what comes."""
    newest = job
    with (
        _downloads(client, output_folder) as downloads,
        _JobBars(job) as bars,
        closing(client.watch_job(job.name)) as watch,
    ):
        for news in watch:
            bars.take(news)
            if news.HasField("image"):
                downloads.take(news.image)
            elif news.HasField("job"):
                newest = news.job
                if job_needs_nobody(newest):
                    break
        # Pictures whose news came before the stream began.
        for image in client.list_images(job.name):
            downloads.take(image)
    return newest


def download_job(client: Client, job: str, folder: Path) -> list[Path]:
    """Download every picture of a job that is there."""
    with _downloads(client, folder) as downloads:
        for image in client.list_images(job):
            downloads.take(image)
    return downloads.paths


def picture_file_name(image: Image) -> str:
    """Name a picture's file: its number, then its reference or its id."""
    label = image.spec.client_ref or last_id(image.name)
    # A reference is free text: nothing in it may lead out of the folder.
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in label)[:80]
    return f"{image.image_number:04d}-{safe}.{_SUFFIXES.get(image.file.content_type, 'png')}"


class _Downloads:
    def __init__(self, client: Client, folder: Path | None, pool: ThreadPoolExecutor) -> None:
        self._client = client
        self._folder = folder
        self._pool = pool
        self._saves: dict[str, Future[None]] = {}
        self.paths: list[Path] = []

    def take(self, image: Image) -> None:
        """Begin to download a picture, once, if it is there and wanted."""
        if self._folder is None or not image_came(image) or image.name in self._saves:
            return
        path = self._folder / picture_file_name(image)
        self.paths.append(path)
        self._saves[image.name] = self._pool.submit(self._save, image.name, path)

    def _save(self, name: str, path: Path) -> None:
        self._client.save_image(name, path)

    def wait(self) -> None:
        for save in self._saves.values():
            save.result()


@contextmanager
def _downloads(client: Client, folder: Path | None) -> Generator[_Downloads]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=_DOWNLOADS_AT_A_TIME) as pool:
        downloads = _Downloads(client, folder, pool)
        yield downloads
        downloads.wait()


class _JobBars:
    """One bar for the job, one for each image that is being drawn."""

    def __init__(self, job: Job) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._job_bar = self._progress.add_task(_job_label(job), total=job.image_count)
        self._image_bars: dict[str, TaskID] = {}
        self._finished: set[str] = set()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def take(self, news: WatchJobResponse) -> None:
        if news.HasField("job"):
            job = news.job
            finished = job.image_count - job.queued_count - job.running_count
            self._progress.update(self._job_bar, description=_job_label(job), completed=finished)
        elif news.HasField("progress"):
            self._take_progress(news.progress)
        elif news.HasField("image") and image_is_finished(news.image):
            self._take_end(news.image)

    def _take_progress(self, progress: ImageProgress) -> None:
        # Progress takes another way than states and may come late.
        if progress.image in self._finished:
            return
        bar = self._image_bars.get(progress.image)
        if bar is None:
            if len(self._image_bars) >= _BARS_MAX:
                return
            label = f"  {last_id(progress.image)}"
            bar = self._progress.add_task(label, total=progress.step_count)
            self._image_bars[progress.image] = bar
        self._progress.update(bar, completed=progress.step)

    def _take_end(self, image: Image) -> None:
        self._finished.add(image.name)
        bar = self._image_bars.pop(image.name, None)
        if bar is not None:
            self._progress.remove_task(bar)
        if not image_came(image):
            self._progress.console.print(
                f"  {last_id(image.name)} {image_state_word(image)}: {image.failure.message}",
                markup=False,
            )


def _job_label(job: Job) -> str:
    return f"{last_id(job.name)} {job_state_word(job)}"
