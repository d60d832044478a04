import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.v1 import image_pb2, job_service_pb2
from services.gateway.errors import CallRefusedError
from services.gateway.job_plan import PlannedImage, allowed_catalogue, draw_seed, plan_images
from services.jobs.model_catalogue import Limits, Model, ModelCatalogue


def model(**changes: Limits[int] | int) -> Model:
    limits = {
        "width": Limits[int](min=64, max=512, default=128),
        "height": Limits[int](min=64, max=512, default=256),
        "pixels_max": 131_072,
    } | changes
    return Model.model_validate(
        {
            "display_name": "m",
            "source": "s",
            "precision": "fp32",
            "num_inference_steps": Limits[int](min=2, max=50, default=20),
            "guidance_scale": Limits[float](min=0.0, max=10.0, default=4.5),
            "max_sequence_length": Limits[int](min=16, max=256, default=77),
            "batch_slots": 1,
            "interactive_slots": 0,
            **limits,
        }
    )


CATALOGUE: ModelCatalogue = {"mini": model(), "large": model()}


def spec(count: int = 1, **image: object) -> job_service_pb2.JobSpec:
    wanted: dict[str, object] = {"prompt": "a mug"} | image
    return job_service_pb2.JobSpec(
        image=image_pb2.ImageSpec(**wanted),  # pyright: ignore[reportArgumentType]
        count=count,
    )


def plan(
    *specs: job_service_pb2.JobSpec, output_format: str | None = None
) -> tuple[PlannedImage, ...]:
    return plan_images(
        specs,
        catalogue=CATALOGUE,
        allowed=allowed_catalogue(CATALOGUE, ["mini"]),
        output_format=output_format,
        job_labels={"season": "spring", "sku": "none"},
        draw_seed=lambda: 42,
    )


def fields_at_fault(*specs: job_service_pb2.JobSpec) -> list[str]:
    with pytest.raises(CallRefusedError) as refused:
        plan(*specs)
    return [violation.field for violation in refused.value.refusal.field_violations]


def test_a_format_that_a_spec_leaves_out_is_the_tenants() -> None:
    left_out, named = plan(
        spec(), spec(output_format=image_pb2.OUTPUT_FORMAT_JPEG), output_format="WEBP"
    )

    assert left_out.spec.output_format == "WEBP"
    assert named.spec.output_format == "JPEG"


def test_what_a_spec_leaves_out_comes_from_its_model() -> None:
    (image,) = plan(spec())

    assert (image.spec.width, image.spec.height) == (128, 256)
    assert (image.spec.num_inference_steps, image.spec.guidance_scale) == (20, 4.5)
    assert (image.spec.model, image.spec.seed) == ("mini", 42)
    assert (image.spec.output_format, image.spec.output_quality) == ("PNG", 90)


def test_a_guidance_of_zero_is_a_wish_and_not_a_default() -> None:
    (image,) = plan(spec(guidance_scale=0.0))

    assert image.spec.guidance_scale == 0.0


@given(count=st.integers(min_value=1, max_value=50), seed=st.integers(0, 2**64 - 51))
def test_picture_i_of_a_spec_has_seed_plus_i(count: int, seed: int) -> None:
    images = plan(spec(count, seed=seed))

    assert [image.spec.seed for image in images] == [seed + i for i in range(count)]


def test_a_count_of_zero_is_one_picture() -> None:
    assert len(plan(spec(0))) == 1


def test_a_specs_own_labels_go_before_the_jobs() -> None:
    (image,) = plan(spec(labels={"sku": "b-1"}))

    assert dict(image.labels) == {"season": "spring", "sku": "b-1"}


def test_every_field_at_fault_is_named_with_its_place() -> None:
    fields = fields_at_fault(
        spec(),
        spec(height=528, num_inference_steps=1),
        spec(max_sequence_length=300),
        spec(model="models/nothing"),
    )

    assert fields == [
        "job.specs[1].image.height",
        "job.specs[1].image.num_inference_steps",
        "job.specs[2].image.max_sequence_length",
        "job.specs[3].image.model",
    ]


def test_sides_that_fit_can_still_be_too_many_pixels() -> None:
    assert fields_at_fault(spec(width=512, height=512)) == ["job.specs[0].image.width"]


def test_a_model_of_other_tenants_is_not_allowed() -> None:
    with pytest.raises(CallRefusedError, match="not allowed"):
        plan(spec(model="models/large"))


def test_drawn_seeds_survive_tools_that_count_in_doubles() -> None:
    seeds = {draw_seed() for _ in range(100)}

    assert len(seeds) == 100
    assert max(seeds) < 2**53
