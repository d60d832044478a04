"""The memory plan: held against measured peaks, and never more than there is."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.engine.errors import ModelTooLargeError, UnknownBackendError
from services.engine.image_spec import CompatibilityKey
from services.engine.memory_plan import (
    BLOCK_WEIGHT_BYTES,
    GB,
    GIB,
    MemoryPlan,
    PlanRequest,
    make_plan,
    native_key,
)
from services.engine.model_outline import ModelOutline, known_outline
from services.engine.residence import Residence
from services.engine.text_encoding import EMBEDDING_BYTES_MAX

LARGE = "stabilityai/stable-diffusion-3.5-large"
MEDIUM = "stabilityai/stable-diffusion-3.5-medium"


@cache
def outline_of(name: str) -> ModelOutline:
    found = known_outline(name)
    assert found is not None
    return found


def request(name: str = LARGE, *, free_gb: float, **changes: object) -> PlanRequest:
    wish = PlanRequest(outline=outline_of(name), free_bytes=round(free_gb * GB))
    return replace(wish, **changes)  # pyright: ignore[reportArgumentType] - checked by its __init__


def test_parameters_are_those_of_the_published_models() -> None:
    large, medium = outline_of(LARGE), outline_of(MEDIUM)

    assert large.transformer_parameters == 8_056_627_520
    assert large.modulation_parameters == 2_686_343_424
    assert medium.transformer_parameters == 2_243_171_520
    # CLIP-L, OpenCLIP bigG with their projections, and T5-XXL.
    assert large.encoder_parameters == 123_650_304 + 694_659_840 + 4_762_310_656
    assert (large.native_size, large.patch_pixels) == (1024, 16)


@pytest.mark.parametrize(
    ("images", "measured_gib"), [(1, 18.1), (4, 23.8)], ids=["one image", "four, decoded at once"]
)
def test_the_estimate_is_at_most_a_tenth_above_plain_diffusers_peaks_and_never_below(
    images: int, measured_gib: float
) -> None:
    plan = make_plan(request(free_gb=141))
    key = native_key(plan.request.outline)

    peak = plan.peak_bytes(key, images=images, decoded_together=images)

    # Measured on an H200 in bf16 with the embeddings given: no encoders, no memory of prompts.
    estimate_gib = (peak - plan.encoders_bytes - EMBEDDING_BYTES_MAX) / GIB
    assert 1.0 <= estimate_gib / measured_gib <= 1.1


@pytest.mark.parametrize(
    ("free_gb", "images", "modulation", "measured_gb"),
    [(15.5, 2, Residence.OFFLOADED, 9.54), (23.5, 4, Residence.RESIDENT, 16.02)],
    ids=["two on 16 GB", "four on 24 GB"],
)
def test_the_estimate_is_at_most_a_tenth_above_what_the_engine_took_on_an_h100_and_never_below(
    free_gb: float, images: int, modulation: Residence, measured_gb: float
) -> None:
    wish = request(free_gb=free_gb, backend="scaled_mm", modulation=modulation)
    plan = make_plan(replace(wish, text_encoders=Residence.OFFLOADED))
    key = native_key(plan.request.outline)

    estimate_gb = (plan.peak_bytes(key, images=images) - plan.encoders_bytes) / GB

    # benchmarks/results/memory_on_gpu_nvidia_h100_80gb_hbm3.json
    assert 1.0 <= estimate_gb / measured_gb <= 1.1


def test_the_encoders_alone_are_what_was_measured_of_them() -> None:
    resident = make_plan(request(free_gb=141, text_encoders=Residence.RESIDENT))

    # 9.5 GB of T5 and 1.6 GB of both CLIPs in bf16.
    assert resident.encoders_bytes / GB == pytest.approx(11.1, abs=0.1)


def test_four_images_of_1024_fit_24_gb_and_two_fit_16_gb_in_8_bits() -> None:
    frugal = {"backend": "scaled_mm", "modulation": Residence.OFFLOADED}
    on_24, on_16 = (make_plan(request(free_gb=gb - 0.5, **frugal)) for gb in (24, 16))
    key = native_key(on_24.request.outline)

    assert (on_24.images_max(key) >= 4, on_16.images_max(key) >= 2) == (True, True)
    assert on_24.text_encoders is on_16.text_encoders is Residence.OFFLOADED


def test_encoders_stay_on_the_device_where_the_wished_batch_fits_beside_them() -> None:
    assert make_plan(request(free_gb=47.5)).text_encoders is Residence.RESIDENT


def test_a_decoder_is_tiled_only_where_a_whole_picture_does_not_fit() -> None:
    tight = make_plan(request(MEDIUM, free_gb=10.6, images_wished=2))
    roomy = make_plan(request(MEDIUM, free_gb=15.5, images_wished=2))

    assert (tight.tiled_decoding, roomy.tiled_decoding) == (True, False)
    assert tight.images_max(native_key(tight.request.outline)) >= 1


def test_more_of_a_smaller_size_share_a_step() -> None:
    plan = make_plan(request(free_gb=23.5))
    key = native_key(plan.request.outline)

    small = plan.images_max(CompatibilityKey(512, 512, 256, is_guided=True))

    assert small > 2 * plan.images_max(key)
    assert plan.images_max(key._replace(is_guided=False)) >= 2 * plan.images_max(key)


def test_a_model_that_does_not_fit_is_refused_with_what_would_help() -> None:
    with pytest.raises(ModelTooLargeError) as raised:
        make_plan(request(free_gb=15.5))

    assert str(raised.value) == (
        "stabilityai/stable-diffusion-3.5-large needs 22.0 GB for one image of 1024×1024"
        " (weights 16.5, reserve 2.5), 15.5 GB are free: use a card with more memory, or set"
        " backend=weight_storage, which halves the blocks' weights, or set modulation=offloaded,"
        " or lower memory_reserve_gb"
    )


def test_an_unknown_backend_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UnknownBackendError, match="no backend 'int4': use one of none, scaled_mm"):
        make_plan(request(free_gb=141, backend="int4"))


@settings(max_examples=200)
@given(
    name=st.sampled_from((LARGE, MEDIUM)),
    free_gb=st.integers(4, 160),
    reserve_gb=st.floats(0.0, 8.0),
    backend=st.sampled_from(sorted(BLOCK_WEIGHT_BYTES)),
    modulation=st.sampled_from(Residence),
    size=st.sampled_from((256, 512, 768, 1024, 1440)),
    is_guided=st.booleans(),
)
def test_the_largest_batch_leaves_the_reserve_free_and_one_more_would_not(
    *,
    name: str,
    free_gb: int,
    reserve_gb: float,
    backend: str,
    modulation: Residence,
    size: int,
    is_guided: bool,
) -> None:
    wish = request(
        name,
        free_gb=free_gb,
        reserve_bytes=round(reserve_gb * GB),
        backend=backend,
        modulation=modulation,
    )
    key = CompatibilityKey(size, size, 256, is_guided=is_guided)
    try:
        plan = make_plan(wish, key)
    except ModelTooLargeError:
        return

    images = plan.images_max(key)

    assert images >= 1
    assert free_after(plan, key, images) >= wish.reserve_bytes
    assert free_after(plan, key, images + 1) < wish.reserve_bytes


def free_after(plan: MemoryPlan, key: CompatibilityKey, images: int) -> int:
    return plan.request.free_bytes - plan.peak_bytes(key, images=images)
