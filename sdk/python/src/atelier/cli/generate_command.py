"""`atelier generate`: pictures of one prompt, now."""

from pathlib import Path

import click

from atelier.cli.job_commands import finish
from atelier.cli.session import Session, in_session
from atelier.cli.values import PICTURE_FORMAT, SIZE
from atelier.names import top_name
from atelier.v1.image_pb2 import ImageSpec, OutputFormat, Tier
from atelier.v1.job_service_pb2 import JobSpec


@click.command()
@click.argument("prompt")
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="How many pictures.",
)
@click.option("--size", type=SIZE, help="Such as 1024x1024; the model's own unless given.")
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), help="Picture i has seed + i.")
@click.option("--steps", type=click.IntRange(min=1), help="Denoising steps.")
@click.option("--guidance", type=float, help="Guidance scale.")
@click.option("--negative", default="", help="What to avoid.")
@click.option("--model", default="", help="As `atelier models list` names it.")
@click.option("--picture-format", type=PICTURE_FORMAT, help="Of the files.")
@click.option("--project", default="", help="What usage is grouped and budgeted by.")
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where to; this folder unless given.",
)
@in_session
def generate(
    session: Session,
    *,
    prompt: str,
    count: int,
    size: tuple[int, int] | None,
    seed: int | None,
    steps: int | None,
    guidance: float | None,
    negative: str,
    model: str,
    picture_format: "OutputFormat.ValueType | None",
    project: str,
    output_dir: Path,
) -> None:
    """Draw PROMPT now and save the pictures; Ctrl-C cancels what is not finished."""
    width, height = size or (0, 0)
    image = ImageSpec(
        prompt=prompt,
        negative_prompt=negative,
        width=width,
        height=height,
        num_inference_steps=steps or 0,
        guidance_scale=guidance,
        seed=seed,
        model=top_name("models", model),
        output_format=picture_format or OutputFormat.OUTPUT_FORMAT_UNSPECIFIED,
    )
    with session.open_client() as client:
        job = client.order_job(
            [JobSpec(image=image, count=count)],
            tier=Tier.TIER_INTERACTIVE,
            project=project,
            display_name=prompt[:80],
        )
        try:
            finish(client, session.output, job, output_dir)
        except KeyboardInterrupt:
            # Nobody waits for these pictures any more, and each would cost.
            client.cancel_job(job.name)
            raise
