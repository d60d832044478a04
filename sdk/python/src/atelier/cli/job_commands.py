"""`atelier jobs …`."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click

from atelier.campaigns import CampaignEntry, CampaignError, read_campaign
from atelier.cli.columns import IMAGE_COLUMNS, JOB_COLUMNS, JOB_DETAILS
from atelier.cli.following import download_job, follow_job, picture_file_name
from atelier.cli.output import Output, message_fields
from atelier.cli.session import Session, in_session
from atelier.cli.values import AMOUNT, MOMENT
from atelier.client import Client
from atelier.errors import FieldViolationError
from atelier.job_calls import JobOptions
from atelier.job_states import image_came
from atelier.v1.image_pb2 import Image, Tier
from atelier.v1.job_service_pb2 import Job, JobFilter, JobState
from atelier.v1.money_pb2 import Money

EXIT_SOME_FAILED = 1
_STATES = [name.removeprefix("JOB_STATE_") for name in JobState.keys()[1:]]


@click.group()
def jobs() -> None:
    """Order batches of pictures, watch them, fetch them."""


@jobs.command("create")
@click.option(
    "--from",
    "campaign",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="What to draw: a .csv or .jsonl file.",
)
@click.option("--title", default="", help="A name for the job; the file's unless given.")
@click.option(
    "--tier",
    type=click.Choice(["batch", "interactive"]),
    default="batch",
    show_default=True,
    help="How urgent.",
)
@click.option("--project", default="", help="What usage is grouped and budgeted by.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="May be repeated.")
@click.option("--max-cost", type=AMOUNT, help="Refuse the job if it could cost more.")
@click.option("--currency", default="USD", show_default=True, help="Of --max-cost.")
@click.option("--deadline", type=MOMENT, help="What is not finished by then is not charged.")
@click.option("--request-id", default="", help="A UUID, to send the same wish again safely.")
@click.option("--quote", is_flag=True, help="Only tell what it would cost at most.")
@click.option("--wait", is_flag=True, help="Follow the job to its end.")
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Save the pictures here as they come; implies --wait.",
)
@in_session
def create(
    session: Session,
    *,
    campaign: Path,
    title: str,
    tier: str,
    project: str,
    labels: tuple[str, ...],
    max_cost: int | None,
    currency: str,
    deadline: datetime | None,
    request_id: str,
    quote: bool,
    wait: bool,
    output_dir: Path | None,
) -> None:
    """Order the pictures of a campaign file."""
    entries = read_campaign_file(campaign)
    options = JobOptions(
        display_name=title or campaign.stem,
        tier=Tier.Value(f"TIER_{tier.upper()}"),
        project=project,
        labels=dict(_split_label(label) for label in labels),
    )
    if max_cost is not None:
        options["max_cost"] = Money(currency_code=currency.upper(), nanos=max_cost)
    if deadline is not None:
        options["deadline_time"] = deadline
    if request_id:
        options["request_id"] = request_id
    with session.open_client() as client:
        send = client.quote_job if quote else client.order_job
        try:
            job = send([entry.spec for entry in entries], **options)
        except FieldViolationError as error:
            raise click.UsageError(_in_lines(error, campaign, entries)) from None
        if not quote and (wait or output_dir is not None):
            with _told_that_it_goes_on(session.output, job):
                finish(client, session.output, job, output_dir)
        else:
            session.output.show_one(job, JOB_DETAILS)
            _tell_blocked(session.output, job, campaign, entries)


@jobs.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(_STATES, case_sensitive=False),
    help="Only in this state; may be repeated.",
)
@click.option("--project", default="", help="Only of this project.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many."
)
@in_session
def list_(session: Session, *, states: tuple[str, ...], project: str, limit: int) -> None:
    """List jobs, newest first."""
    job_filter = JobFilter(
        states=[JobState.Value(f"JOB_STATE_{state.upper()}") for state in states],
        project=project,
    )
    with session.open_client() as client:
        found = client.list_jobs(job_filter, page_size=min(limit, 1000))
        newest = [job for job, _ in zip(found, range(limit), strict=False)]
    session.output.show_many(newest, JOB_COLUMNS)


@jobs.command("get")
@click.argument("job")
@click.option("--images", is_flag=True, help="List the job's images too.")
@in_session
def get(session: Session, *, job: str, images: bool) -> None:
    """Show a job."""
    with session.open_client() as client:
        found = client.get_job(job)
        drawn = list(client.list_images(job)) if images else None
    if drawn is None:
        session.output.show_one(found, JOB_DETAILS)
    else:
        _show_job_with_images(session.output, found, drawn, None)


@jobs.command("watch")
@click.argument("job")
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Save the pictures here as they come.",
)
@in_session
def watch(session: Session, *, job: str, output_dir: Path | None) -> None:
    """Follow a job to its end; as JSON, a line for each piece of news."""
    with session.open_client() as client:
        if session.output.is_json and output_dir is None:
            for news in client.watch_job(job):
                session.output.show_json_line(message_fields(news))
        else:
            found = client.get_job(job)
            with _told_that_it_goes_on(session.output, found):
                finish(client, session.output, found, output_dir)


@jobs.command("cancel")
@click.argument("job")
@in_session
def cancel(session: Session, *, job: str) -> None:
    """Cancel what is not finished."""
    with session.open_client() as client:
        session.output.show_one(client.cancel_job(job), JOB_DETAILS)


@jobs.command("retry")
@click.argument("job")
@in_session
def retry(session: Session, *, job: str) -> None:
    """Order what failed once more, as a new job."""
    with session.open_client() as client:
        session.output.show_one(client.retry_failed_images(job), JOB_DETAILS)


@jobs.command("download")
@click.argument("job")
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where to; this folder unless given.",
)
@in_session
def download(session: Session, *, job: str, output_dir: Path) -> None:
    """Save the pictures of a job that are there."""
    with session.open_client() as client:
        paths = [str(path) for path in download_job(client, job, output_dir)]
    if session.output.is_json:
        session.output.show_json(paths)
    else:
        click.echo("\n".join(paths) if paths else "There is no picture yet.")


def finish(client: Client, output: Output, job: Job, output_dir: Path | None) -> None:
    """Follow a job, show what came of it, and exit with 1 when not every image came."""
    newest = follow_job(client, job, output_folder=output_dir)
    images = list(client.list_images(job.name))
    _show_job_with_images(output, newest, images, output_dir)
    if not all(image_came(image) for image in images):
        click.get_current_context().exit(EXIT_SOME_FAILED)


def read_campaign_file(path: Path) -> list[CampaignEntry]:
    """Read a campaign file; what is wrong with it is a usage error that names line and column."""
    try:
        text = path.read_text(encoding="utf-8")
        return read_campaign(text, json_lines=path.suffix.lower() in {".jsonl", ".ndjson"})
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path} is not UTF-8: {error.reason}") from None
    except CampaignError as error:
        faults = "\n".join(f"  {fault}" for fault in error.faults)
        raise click.UsageError(f"{path} cannot be ordered:\n{faults}") from None


@contextmanager
def _told_that_it_goes_on(output: Output, job: Job) -> Generator[None]:
    try:
        yield
    except KeyboardInterrupt:
        output.tell(f"\nThe job goes on: atelier jobs watch {job.name}")
        raise


def _show_job_with_images(
    output: Output, job: Job, images: list[Image], folder: Path | None
) -> None:
    if output.is_json:
        told = [{**message_fields(image), "path": _path_of(image, folder)} for image in images]
        output.show_json({"job": message_fields(job), "images": told})
        return
    output.show_many(images, IMAGE_COLUMNS)
    click.echo()
    output.show_one(job, JOB_DETAILS)
    if folder is not None:
        click.echo(f"pictures are in {folder}")


def _path_of(image: Image, folder: Path | None) -> str | None:
    if folder is None or not image_came(image):
        return None
    return str(folder / picture_file_name(image))


def _tell_blocked(output: Output, job: Job, campaign: Path, entries: list[CampaignEntry]) -> None:
    for blocked in job.blocked_specs:
        line = entries[blocked.spec_index].line
        output.tell(f"{campaign}, line {line}: blocked: {blocked.failure.message}")


def _in_lines(error: FieldViolationError, campaign: Path, entries: list[CampaignEntry]) -> str:
    """Word the server's violations by the file's lines."""
    told = [
        f"  {_place(violation.subject, entries)}: {violation.description}"
        for violation in error.violations
    ]
    return "\n".join([f"{campaign} was refused:", *told])


def _place(field: str, entries: list[CampaignEntry]) -> str:
    start, _, rest = field.partition("]")
    prefix, _, index = start.partition("[")
    if prefix != "job.specs" or not index.isdecimal() or int(index) >= len(entries):
        return field
    column = rest.removeprefix(".").removeprefix("image.")
    where = f"line {entries[int(index)].line}"
    return f"{where}, column {column}" if column else where


def _split_label(label: str) -> tuple[str, str]:
    key, equals, value = label.partition("=")
    if not equals or not key:
        raise click.BadParameter(f"{label!r} is not KEY=VALUE", param_hint="--label")
    return key, value
