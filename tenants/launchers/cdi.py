"""CDI, the Container Device Interface: how a host describes its GPUs to container engines.

Read to know what a worker's container must hold after its start, and nothing beside.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class _Node(BaseModel):
    path: str


class _Hook(BaseModel):
    path: str


class _Edits(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    nodes: tuple[_Node, ...] = Field(default=(), alias="deviceNodes")
    hooks: tuple[_Hook, ...] = ()


class _Device(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    name: str
    edits: _Edits = Field(default=_Edits(), alias="containerEdits")


class _Specification(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    kind: str
    devices: tuple[_Device, ...]
    edits: _Edits = Field(default=_Edits(), alias="containerEdits")


@dataclass(frozen=True, slots=True, kw_only=True)
class CdiDevice:
    """A device by its full name, such as nvidia.com/gpu=0."""

    name: str
    # What appears in the container's /dev: its own nodes and those that all of its kind share.
    nodes: frozenset[str]
    # Programs of the host that run as root at each container's start.
    hooks: frozenset[str]


def read_cdi_devices(folders: Sequence[Path]) -> dict[str, CdiDevice]:
    """Read all descriptions; of two devices with one name the later folder's counts."""
    return {device.name: device for folder in folders for device in _devices_of(folder)}


def _devices_of(folder: Path) -> Iterator[CdiDevice]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.suffix not in {".json", ".yaml", ".yml"}:
            continue
        try:
            # JSON is YAML too.
            found = _Specification.model_validate(yaml.safe_load(path.read_text()))
        except (ValidationError, yaml.YAMLError):
            # The engine refuses it as well: its devices do not exist.
            continue
        for device in found.devices:
            edits = (found.edits, device.edits)
            yield CdiDevice(
                name=f"{found.kind}={device.name}",
                nodes=frozenset(node.path for one in edits for node in one.nodes),
                hooks=frozenset(hook.path for one in edits for hook in one.hooks),
            )
