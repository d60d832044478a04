"""The models an installation sells, with their limits: one TOML file for gateway and fleet."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from services.jobs.errors import CatalogueError

# The source that stands for the small model with random weights, which the engine makes itself.
RANDOM_CHECKPOINT: Final = "random-checkpoint"

Number = TypeVar("Number", int, float)
_ModelId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Frozen, Generic[Number]):
    """Smallest and largest value that is accepted, and the one taken when none is given."""

    min: Number
    max: Number
    default: Number

    @model_validator(mode="after")
    def _ordered(self) -> "Limits[Number]":
        if not self.min <= self.default <= self.max:
            raise ValueError("min <= default <= max does not hold")
        return self


class Model(_Frozen):
    """One model; sizes in pixels, multiples of 16.

    ``source`` is a folder in diffusers format, relative to the catalogue, or a hub name; the word
    ``random-checkpoint`` asks for the small one with random weights that the engine makes itself.
    """

    display_name: str
    source: str
    precision: str
    # What computes, for people.
    backend: str = ""
    width: Limits[int]
    height: Limits[int]
    pixels_max: int
    num_inference_steps: Limits[int]
    guidance_scale: Limits[float]
    max_sequence_length: Limits[int]
    batch_slots: int = Field(ge=1)
    interactive_slots: int = Field(ge=0)


ModelCatalogue = Mapping[str, Model]
_CATALOGUE: TypeAdapter[dict[_ModelId, Model]] = TypeAdapter(dict[_ModelId, Model])


def load_catalogue(path: Path) -> ModelCatalogue:
    """Read the catalogue.

    Raises:
        CatalogueError: the file is missing, is no TOML, or says something that cannot be.
    """
    try:
        with path.open("rb") as file:
            catalogue = _CATALOGUE.validate_python(tomllib.load(file))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise CatalogueError(f"the model catalogue {path} cannot be used: {error}") from error
    if not catalogue:
        raise CatalogueError(f"the model catalogue {path} names no model; add one")
    return catalogue
