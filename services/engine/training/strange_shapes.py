"""Things that are none of the objects, so that the judge can learn to say "none of these".

Half-way mixtures of two objects are what a model that has learned too little draws.
"""

import itertools
from typing import Final

import torch
from torch import Tensor

from services.engine.training.shapes import (
    SHAPES,
    Distances,
    Points,
    Shape,
    ShapeOfObject,
    box,
    cylinder,
    join,
    melt,
    nothing,
    sphere,
)


def mixture(one: Shape, other: Shape, weight: float) -> Shape:
    """A shape between two shapes."""

    def distances(p: Points, variation: Tensor) -> Distances:
        a = torch.minimum(*one(p, variation))
        b = torch.minimum(*other(p, variation))
        mixed = (1 - weight) * a + weight * b
        return mixed, nothing(mixed)

    return distances


def pillars(p: Points, variation: Tensor) -> Distances:
    one = cylinder(p.moved(x=-0.45), 0.22, low=0.0, high=1.5)
    other = cylinder(p.moved(x=0.45), 0.30, low=0.0, high=0.9)
    distance = join(one, other) + 0.03 * variation
    return distance, nothing(distance)


def cross(p: Points, variation: Tensor) -> Distances:
    upright = box(p.moved(y=0.85), 0.18, 0.85, 0.18)
    beam = box(p.moved(y=1.0), 0.65, 0.18, 0.18)
    distance = join(upright, beam) + 0.03 * variation
    return distance, nothing(distance)


def blob(p: Points, variation: Tensor) -> Distances:
    distance = sphere(p.moved(x=-0.4, y=0.5), 0.5)
    distance = melt(distance, sphere(p.moved(x=0.45, y=0.4, z=0.2), 0.4), 0.3)
    distance = melt(distance, sphere(p.moved(x=0.1, y=1.05), 0.3), 0.3) + 0.04 * variation
    return distance, nothing(distance)


def steps(p: Points, variation: Tensor) -> Distances:
    wide = box(p.moved(y=0.2), 0.8, 0.2, 0.8)
    middle = box(p.moved(y=0.6), 0.55, 0.2, 0.55)
    high = box(p.moved(y=1.0), 0.3, 0.2, 0.3)
    distance = join(wide, middle, high) + 0.02 * variation
    return distance, nothing(distance)


def mixtures() -> dict[str, ShapeOfObject]:
    """Each object half-way to its neighbour in the list, and to one farther off."""
    names = list(SHAPES)
    pairs = itertools.chain(
        zip(names, names[1:] + names[:1], strict=True),
        zip(names, names[5:] + names[:5], strict=True),
    )
    return {
        f"{one}-{other}": ShapeOfObject(
            mixture(SHAPES[one].distances, SHAPES[other].distances, 0.5)
        )
        for one, other in pairs
    }


STRANGE_SHAPES: Final[dict[str, ShapeOfObject]] = {
    "pillars": ShapeOfObject(pillars),
    "cross": ShapeOfObject(cross),
    "blob": ShapeOfObject(blob),
    "steps": ShapeOfObject(steps),
    **mixtures(),
}
ALL_SHAPES: Final = SHAPES | STRANGE_SHAPES
