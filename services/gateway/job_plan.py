"""From the specs of a request to the images of a job: defaults filled in, limits of models checked.

The contract's own rules have been enforced before; what a model adds to them is checked here. Pure.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from atelier.v1 import image_pb2, job_service_pb2
from services.gateway import resource_names
from services.gateway.conversions import enum_text
from services.gateway.errors import FieldViolation, invalid_fields, model_not_allowed
from services.gateway.finish_forecast import Kind
from services.jobs.model_catalogue import Limits, Model, ModelCatalogue
from services.jobs.records import ImageSpec

_OUTPUT_QUALITY_DEFAULT: Final = 90
# Of a tenant whose admins have set none.
_OUTPUT_FORMAT_DEFAULT: Final = "PNG"
# What a JSON number carries exactly everywhere, so that a drawn seed survives any client's tools.
_DRAWN_SEED_BITS: Final = 53


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """An image as it will be drawn."""

    spec: ImageSpec
    labels: Mapping[str, str]
    client_ref: str | None

    @property
    def kind(self) -> Kind:
        """What decides how long it takes."""
        return Kind(
            model=self.spec.model,
            width=self.spec.width,
            height=self.spec.height,
            num_inference_steps=self.spec.num_inference_steps,
        )


def draw_seed() -> int:
    """Draw a seed for an image whose spec names none."""
    return secrets.randbits(_DRAWN_SEED_BITS)


def allowed_catalogue(
    catalogue: ModelCatalogue, allowed_models: Iterable[str] | None
) -> ModelCatalogue:
    """Leave the models a tenant may use, in the catalogue's order; None admits every one."""
    if allowed_models is None:
        return catalogue
    allowed = set(allowed_models)
    return {model_id: model for model_id, model in catalogue.items() if model_id in allowed}


def plan_images(
    specs: Sequence[job_service_pb2.JobSpec],
    *,
    catalogue: ModelCatalogue,
    allowed: ModelCatalogue,
    output_format: str | None,
    job_labels: Mapping[str, str],
    draw_seed: Callable[[], int],
) -> tuple[PlannedImage, ...]:
    """Expand specs × count, picture i of a spec with seed + i.

    ``output_format`` is the tenant's, for specs that name none.

    Raises:
        CallRefusedError: FIELD_VIOLATION with the full path of every field at fault,
            MODEL_NOT_ALLOWED.
    """
    check_specs(
        [(f"job.specs[{index}].image", spec.image) for index, spec in enumerate(specs)],
        catalogue=catalogue,
        allowed=allowed,
    )
    return tuple(
        image
        for spec in specs
        for image in _expanded(
            spec,
            allowed=allowed,
            output_format=output_format,
            job_labels=job_labels,
            draw_seed=draw_seed,
        )
    )


def plan_one_image(
    spec: image_pb2.ImageSpec,
    *,
    path: str,
    catalogue: ModelCatalogue,
    allowed: ModelCatalogue,
    output_format: str | None,
    draw_seed: Callable[[], int],
) -> PlannedImage:
    """Plan a single image; ``path`` is where the spec stands in its request.

    Raises:
        CallRefusedError: as in plan_images.
    """
    check_specs([(path, spec)], catalogue=catalogue, allowed=allowed)
    once = job_service_pb2.JobSpec(image=spec, count=1)
    return next(
        _expanded(
            once,
            allowed=allowed,
            output_format=output_format,
            job_labels={},
            draw_seed=draw_seed,
        )
    )


def check_specs(
    specs: Iterable[tuple[str, image_pb2.ImageSpec]],
    *,
    catalogue: ModelCatalogue,
    allowed: ModelCatalogue,
) -> None:
    """Check (path, spec) pairs against their models.

    Raises:
        CallRefusedError: FIELD_VIOLATION with the full path of every field at fault,
            MODEL_NOT_ALLOWED.
    """
    violations: list[FieldViolation] = []
    for path, spec in specs:
        model_id = model_of(spec, allowed=allowed)
        if model_id in allowed:
            violations.extend(_violations(path, spec, allowed[model_id]))
        elif model_id in catalogue:
            raise model_not_allowed(resource_names.MODEL.write(model_id))
        else:
            violations.append(_violation(f"{path}.model", "is no model of this installation"))
    if violations:
        raise invalid_fields(violations)


def model_of(spec: image_pb2.ImageSpec, *, allowed: ModelCatalogue) -> str:
    """Return the id of the model a spec asks for; the first allowed one when it names none."""
    if not spec.model:
        return next(iter(allowed), "")
    parsed = resource_names.MODEL.parse(spec.model)
    return parsed[0] if parsed else ""


def filled_spec(
    spec: image_pb2.ImageSpec, *, model_id: str, model: Model, output_format: str | None, seed: int
) -> ImageSpec:
    """Put the model's defaults, and the tenant's format, where a spec says nothing."""
    guidance_scale = spec.guidance_scale if spec.HasField("guidance_scale") else None
    return ImageSpec(
        model=model_id,
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        width=spec.width or model.width.default,
        height=spec.height or model.height.default,
        num_inference_steps=spec.num_inference_steps or model.num_inference_steps.default,
        guidance_scale=model.guidance_scale.default if guidance_scale is None else guidance_scale,
        seed=seed,
        max_sequence_length=spec.max_sequence_length or model.max_sequence_length.default,
        output_format=(
            enum_text(image_pb2.OutputFormat, spec.output_format)
            or output_format
            or _OUTPUT_FORMAT_DEFAULT
        ),
        output_quality=spec.output_quality or _OUTPUT_QUALITY_DEFAULT,
    )


def _expanded(
    spec: job_service_pb2.JobSpec,
    *,
    allowed: ModelCatalogue,
    output_format: str | None,
    job_labels: Mapping[str, str],
    draw_seed: Callable[[], int],
) -> Iterator[PlannedImage]:
    model_id = model_of(spec.image, allowed=allowed)
    labels = {**job_labels, **spec.image.labels}
    for index in range(max(spec.count, 1)):
        seed = spec.image.seed + index if spec.image.HasField("seed") else draw_seed()
        yield PlannedImage(
            spec=filled_spec(
                spec.image,
                model_id=model_id,
                model=allowed[model_id],
                output_format=output_format,
                seed=seed,
            ),
            labels=labels,
            client_ref=spec.image.client_ref or None,
        )


def _violations(path: str, spec: image_pb2.ImageSpec, model: Model) -> Iterator[FieldViolation]:
    # A zero or an unset field takes the model's default, which lies within its limits.
    if spec.width:
        yield from _outside(f"{path}.width", spec.width, model.width)
    if spec.height:
        yield from _outside(f"{path}.height", spec.height, model.height)
    if spec.num_inference_steps:
        yield from _outside(
            f"{path}.num_inference_steps", spec.num_inference_steps, model.num_inference_steps
        )
    if spec.HasField("guidance_scale"):
        yield from _outside(f"{path}.guidance_scale", spec.guidance_scale, model.guidance_scale)
    if spec.max_sequence_length:
        yield from _outside(
            f"{path}.max_sequence_length", spec.max_sequence_length, model.max_sequence_length
        )
    width, height = spec.width or model.width.default, spec.height or model.height.default
    if width * height > model.pixels_max:
        yield _violation(
            f"{path}.width", f"width × height must be at most {model.pixels_max} with this model"
        )


def _outside(
    path: str, value: float, limits: Limits[int] | Limits[float]
) -> Iterator[FieldViolation]:
    if not limits.min <= value <= limits.max:
        yield _violation(path, f"must be between {limits.min:g} and {limits.max:g} with this model")


def _violation(path: str, description: str) -> FieldViolation:
    return FieldViolation(
        field=path, description=description, reason=f"model.{path.rpartition('.')[2]}"
    )
