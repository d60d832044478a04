"""What a batch of segments must not say."""

import pytest

from metering.errors import SegmentsInvalidError
from metering.power import SegmentKind
from tests.integration.metering.energy_samples import batch, segment, share


def test_energy_is_never_negative() -> None:
    with pytest.raises(SegmentsInvalidError, match="negative figure"):
        batch(segment(1, SegmentKind.FREE, -1))


def test_nobody_is_paid_for_by_anothers_negative_share() -> None:
    shares = (share(-5), share(15, "dog"))

    with pytest.raises(SegmentsInvalidError, match="negative share"):
        batch(segment(1, SegmentKind.WORK, 10, last_mark_number=1, shares=shares))


def test_shares_are_what_the_segment_took() -> None:
    shares = (share(4), share(5, "dog"))

    with pytest.raises(SegmentsInvalidError, match="do not add up"):
        batch(segment(1, SegmentKind.WORK, 10, last_mark_number=1, shares=shares))
