"""Which devices a host has."""

from services.fleet.inventory import Gpu, GpuKind, Inventory

FIRST = Gpu(gpu_id="gpu-0", kind=GpuKind.NVIDIA, device_uuid="GPU-5a")
SECOND = Gpu(gpu_id="gpu-1", kind=GpuKind.NVIDIA, device_uuid="GPU-6b")


def test_without_a_word_of_the_operators_it_is_what_the_meter_finds() -> None:
    inventory = Inventory(configured_ids=[])

    inventory.take([FIRST, SECOND])

    assert inventory.gpus == (FIRST, SECOND)


def test_a_card_that_the_meter_no_longer_finds_is_gone() -> None:
    inventory = Inventory(configured_ids=[])
    inventory.take([FIRST, SECOND])

    inventory.take([SECOND])

    assert inventory.gpus == (SECOND,)


def test_the_operators_word_decides_which_and_the_meter_tells_their_names() -> None:
    inventory = Inventory(configured_ids=["gpu-1"])
    nameless = inventory.gpus

    inventory.take([FIRST, SECOND])

    assert [gpu.can_draw for gpu in nameless] == [False]
    assert inventory.gpus == (SECOND,)


def test_a_share_of_the_processor_needs_no_name() -> None:
    (share,) = Inventory(configured_ids=["cpu-0"]).gpus

    assert share.kind is GpuKind.PROCESSOR
    assert share.can_draw


def test_a_named_card_that_was_split_is_not_drawn_on_under_its_old_name() -> None:
    inventory = Inventory(configured_ids=["gpu-0"])
    inventory.take([FIRST])
    part = Gpu(gpu_id="gpu-0-mig-1", kind=GpuKind.NVIDIA, device_uuid="MIG-7c")

    inventory.take([part])

    assert [(gpu.gpu_id, gpu.can_draw) for gpu in inventory.gpus] == [("gpu-0", False)]
