"""Images that wait, in GPU-seconds."""

from services.fleet.backlog import BacklogEstimate
from services.fleet.fleet_store import BacklogRow


def row(model: str, *, queued: int, running: int = 0) -> BacklogRow:
    return BacklogRow(
        tenant_id="acme",
        model=model,
        width=1000,
        height=1000,
        num_inference_steps=20,
        queued_count=queued,
        running_count=running,
    )


def test_what_was_measured_decides_and_half_of_what_runs_is_left() -> None:
    estimate = BacklogEstimate(picture_seconds_before_measured=7.0)
    # A picture of 20 million pixel-steps: 20 × 10⁻³ × 250 = 5 GPU-seconds.
    estimate.speeds = {"large": 250.0}

    seconds = estimate.seconds_by_tenant([row("large", queued=3, running=2)])

    assert seconds == {"acme": {"large": 20.0}}


def test_a_model_that_was_never_measured_is_taken_at_the_settings_word() -> None:
    estimate = BacklogEstimate(picture_seconds_before_measured=7.0)

    seconds = estimate.seconds_by_tenant([row("new", queued=2), row("new", queued=1)])

    assert seconds == {"acme": {"new": 21.0}}
