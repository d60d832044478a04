"""Names of cards that are alike on every host."""

import pytest

from tenants.ids import gpu_id_of


@pytest.mark.parametrize(
    "device_uuid",
    [
        "GPU-5A1B2C3D-4e5f-6071-8293-a4b5c6d7e8f9",
        "MIG-5a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
        "5a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
    ],
)
def test_a_card_has_one_name_however_the_driver_or_torch_writes_its_uuid(device_uuid: str) -> None:
    assert gpu_id_of(device_uuid) == "gpu-5a1b2c3d4e5"
