"""The form for a new job: what it would cost is told before it is ordered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from atelier.errors import AtelierError, CallError, UnavailableError
from atelier.job_calls import JobOptions
from atelier.money import money
from atelier.names import last_id
from atelier.v1.image_pb2 import ImageSpec, OutputFormat, Tier
from atelier.v1.job_service_pb2 import Job, JobSpec
from atelier.v1.model_service_pb2 import Model
from services.console.forms import Form
from services.console.refusals import reason_of
from services.console.visit import Visit, see

_TIERS: Final = {"interactive": Tier.TIER_INTERACTIVE, "batch": Tier.TIER_BATCH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a form asks for."""

    specs: Sequence[JobSpec]
    options: JobOptions


async def new_job(visit: Visit) -> Response:
    return await _form_page(visit, Form({}))


async def quote(visit: Visit) -> Response:
    """Answer with what the form as it is would cost, beside it, while it is filled in."""
    if not visit.form.text("prompts"):
        return visit.page("parts/quote.html", job=None, problems=[])
    job, problems = await _quoted(visit)
    return visit.page("parts/quote.html", job=job, problems=problems)


async def order_job(visit: Visit) -> Response:
    """Order, or show the quote where scripts are off; the same form sent twice orders once."""
    if visit.form.text("action") == "quote":
        job, problems = await _quoted(visit)
        return await _form_page(visit, visit.form, job=job, problems=problems)
    try:
        wish = wish_of(visit.form, currency=visit.visitor.currency)
        wish.options["request_id"] = visit.form.text("request_id")
        job = await visit.client.order_job(wish.specs, **wish.options)
    except UnavailableError:
        raise
    except (AtelierError, ValueError) as error:
        return await _form_page(visit, visit.form, problems=_problems(error))
    return see(f"/jobs/{last_id(job.name)}")


async def _quoted(visit: Visit) -> tuple[Job | None, list[str]]:
    try:
        wish = wish_of(visit.form, currency=visit.visitor.currency)
        return await visit.client.quote_job(wish.specs, **wish.options), []
    except UnavailableError:
        raise
    except (AtelierError, ValueError) as error:
        return None, _problems(error)


async def _form_page(
    visit: Visit, form: Form, *, job: Job | None = None, problems: Sequence[str] = ()
) -> Response:
    models = [model async for model in visit.client.list_models()]
    return visit.page(
        "new_job.html",
        status_code=422 if problems else 200,
        form=form,
        models=models,
        sizes=_sizes(models),
        job=job,
        problems=problems,
        # A form that was refused keeps its request id: corrected, it is still the same wish.
        kept_request_id=form.text("request_id") if job else "",
    )


def wish_of(form: Form, *, currency: str) -> Wish:
    """Read a form.

    Raises:
        ValueError: with words for whoever filled it in.
    """
    prompts = [line.strip() for line in form.text("prompts").splitlines() if line.strip()]
    if not prompts:
        raise ValueError("Write at least one prompt; each line is one.")
    specs = [JobSpec(image=_spec(form, prompt), count=_count(form)) for prompt in prompts]
    options = JobOptions(
        display_name=form.text("display_name"),
        project=form.text("project"),
        tier=_TIERS.get(form.text("tier"), Tier.TIER_BATCH),
    )
    if form.text("max_cost"):
        options["max_cost"] = money(form.text("max_cost"), currency)
    return Wish(specs=specs, options=options)


def _spec(form: Form, prompt: str) -> ImageSpec:
    width, _, height = form.text("size").partition("x")
    spec = ImageSpec(
        prompt=prompt,
        negative_prompt=form.text("negative_prompt"),
        model=form.text("model"),
        width=int(width) if width.isdecimal() else 0,
        height=int(height) if height.isdecimal() else 0,
        num_inference_steps=form.whole_number("steps"),
        output_format=_output_format(form.text("format")),
    )
    if form.text("seed"):
        spec.seed = form.whole_number("seed")
    if form.text("guidance"):
        spec.guidance_scale = float(form.text("guidance"))
    return spec


def _count(form: Form) -> int:
    return form.whole_number("count", default=1)


def _output_format(name: str) -> "OutputFormat.ValueType":
    known = {"png", "jpeg", "webp"}
    return OutputFormat.Value(f"OUTPUT_FORMAT_{name.upper() if name in known else 'UNSPECIFIED'}")


def _sizes(models: Sequence[Model]) -> list[tuple[str, str]]:
    """Offer the sizes that models were made for, each once, and those half as wide or high."""
    sizes = {
        (size.width * across // 2, size.height * down // 2)
        for model in models
        for size in model.native_sizes
        for across, down in ((2, 2), (2, 1), (1, 2), (1, 1))
    }
    ordered = sorted(sizes, key=lambda size: (-size[0] * size[1], size))
    return [(f"{width}x{height}", f"{width} × {height} px") for width, height in ordered]


def _problems(error: AtelierError | ValueError) -> list[str]:
    return reason_of(error) if isinstance(error, CallError) else [str(error)]
