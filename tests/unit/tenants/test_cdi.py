"""How a host's descriptions of its GPUs are read."""

from pathlib import Path

from tenants.launchers.cdi import read_cdi_devices

# As `nvidia-ctk cdi generate` writes them: shared nodes stand beside the devices.
NVIDIA = """
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
- name: GPU-5a
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
containerEdits:
  deviceNodes:
  - path: /dev/nvidiactl
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args: [nvidia-cdi-hook, update-ldcache]
"""


def test_a_device_holds_its_own_nodes_and_those_of_its_kind(tmp_path: Path) -> None:
    (tmp_path / "nvidia.yaml").write_text(NVIDIA)

    devices = read_cdi_devices([tmp_path])

    assert sorted(devices) == ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-5a"]
    assert devices["nvidia.com/gpu=0"].nodes == {"/dev/nvidia0", "/dev/nvidiactl"}
    assert devices["nvidia.com/gpu=0"].hooks == {"/usr/bin/nvidia-cdi-hook"}


def test_what_is_no_description_describes_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{"kind": ')
    (tmp_path / "other.yaml").write_text("a list: []")
    (tmp_path / "README").write_text("words")

    assert read_cdi_devices([tmp_path, tmp_path / "missing"]) == {}
