"""The objects of the training pictures, as signed distance functions.

A shape takes points in its own space (y up, standing on y = 0, about 1.7 high and wide) and a
variation from -1 to 1, and gives two distances: of the part that has the object's colour, and of
the part that has a colour of its own (the pages of a book, the stem of an apple).
Distances may fall short of the true ones, never far beyond: rays march along them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

FAR: Final = 10.0
CREAM: Final = (0.95, 0.91, 0.80)
DARK_GREY: Final = (0.22, 0.22, 0.24)
WOOD_BROWN: Final = (0.36, 0.24, 0.15)
GOLD: Final = (0.92, 0.75, 0.30)


@dataclass(frozen=True, slots=True)
class Points:
    """Many points in space, one tensor per coordinate."""

    x: Tensor
    y: Tensor
    z: Tensor

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Points":
        """The points as seen from a place: what is drawn at the origin appears there."""
        return Points(self.x - x, self.y - y, self.z - z)

    @property
    def radius(self) -> Tensor:
        """Distance from the y axis."""
        return length(self.x, self.z)


Distances = tuple[Tensor, Tensor]
Shape = Callable[[Points, Tensor], Distances]


@dataclass(frozen=True, slots=True)
class ShapeOfObject:
    """A shape and the colour of its second part (sRGB)."""

    distances: Shape
    second_colour: tuple[float, float, float] = DARK_GREY


def length(*parts: Tensor) -> Tensor:
    """Euclidean length."""
    total = parts[0] * parts[0]
    for part in parts[1:]:
        total = total + part * part
    return (total + 1e-12).sqrt()


def sphere(p: Points, radius: float | Tensor) -> Tensor:
    """Around the origin."""
    return length(p.x, p.y, p.z) - radius


def box(p: Points, x: float, y: float, z: float, *, rounding: float = 0.03) -> Tensor:
    """Half sizes, around the origin."""
    qx = p.x.abs() - (x - rounding)
    qy = p.y.abs() - (y - rounding)
    qz = p.z.abs() - (z - rounding)
    outside = length(qx.clamp_min(0), qy.clamp_min(0), qz.clamp_min(0))
    inside = torch.maximum(qx, torch.maximum(qy, qz)).clamp_max(0)
    return outside + inside - rounding


def flat_box(a: Tensor, b: Tensor, *, rounding: float) -> Tensor:
    """Two distances from the faces of a solid, joined with a rounded edge."""
    a, b = a + rounding, b + rounding
    outside = length(a.clamp_min(0), b.clamp_min(0))
    return outside + torch.maximum(a, b).clamp_max(0) - rounding


def cylinder(
    p: Points, radius: float | Tensor, *, low: float, high: float, rounding: float = 0.03
) -> Tensor:
    """Upright, from y = low to high."""
    half, middle = (high - low) / 2, (high + low) / 2
    return flat_box(p.radius - radius, (p.y - middle).abs() - half, rounding=rounding)


def frustum(p: Points, low_radius: float, high_radius: float, *, low: float, high: float) -> Tensor:
    """A cone cut off, upright."""
    slope = (high_radius - low_radius) / (high - low)
    side = (p.radius - low_radius - slope * (p.y - low)) / math.sqrt(1 + slope * slope)
    half, middle = (high - low) / 2, (high + low) / 2
    return flat_box(side, (p.y - middle).abs() - half, rounding=0.025)


def torus(p: Points, radius: float, thickness: float) -> Tensor:
    """Standing in the xy plane, around the origin."""
    return length(length(p.x, p.y) - radius, p.z) - thickness


def join(*distances: Tensor) -> Tensor:
    """All of them."""
    nearest = distances[0]
    for distance in distances[1:]:
        nearest = torch.minimum(nearest, distance)
    return nearest


def melt(a: Tensor, b: Tensor, softness: float) -> Tensor:
    """Both, with a soft seam."""
    h = (softness - (a - b).abs()).clamp_min(0) / softness
    return torch.minimum(a, b) - h * h * softness / 4


def cut(a: Tensor, b: Tensor) -> Tensor:
    """The first without the second."""
    return torch.maximum(a, -b)


def nothing(like: Tensor) -> Tensor:
    """A second part that is not there."""
    return torch.full_like(like, FAR)


def ball(p: Points, variation: Tensor) -> Distances:
    radius = 0.78 + 0.06 * variation
    distance = length(p.x, p.y - radius, p.z) - radius
    return distance, nothing(distance)


def cube(p: Points, variation: Tensor) -> Distances:
    del variation
    distance = box(p.moved(y=0.62), 0.62, 0.62, 0.62, rounding=0.05)
    return distance, nothing(distance)


def mug(p: Points, variation: Tensor) -> Distances:
    radius = 0.56 + 0.05 * variation
    body = cylinder(p, radius, low=0.0, high=1.2, rounding=0.06)
    hole = cylinder(p, radius - 0.09, low=0.12, high=1.5)
    handle = torus(p.moved(x=0.62, y=0.6), 0.32, 0.085)
    outside = cut(handle, p.radius - radius + 0.03)
    distance = melt(cut(body, hole), outside, 0.06)
    return distance, nothing(distance)


def vase(p: Points, variation: Tensor) -> Distances:
    y = p.y.clamp(0.0, 1.65)
    belly = 0.62 + 0.05 * variation
    profile = 0.20 + (belly - 0.20) * torch.exp(-((y - 0.62) ** 2) / 0.16)
    profile = profile + 0.16 * ((y - 1.25).clamp_min(0) / 0.4) ** 2 + 0.06 * (0.3 - y).clamp_min(0)
    side = (p.radius - profile) * 0.62
    solid = flat_box(side, (p.y - 0.825).abs() - 0.825, rounding=0.03)
    hole = torch.maximum((p.radius - profile + 0.08) * 0.62, 1.0 - p.y)
    distance = cut(solid, hole)
    return distance, nothing(distance)


def bottle(p: Points, variation: Tensor) -> Distances:
    body = cylinder(p, 0.40 + 0.03 * variation, low=0.0, high=1.05, rounding=0.08)
    neck = cylinder(p, 0.14, low=0.9, high=1.62, rounding=0.02)
    glass = melt(body, neck, 0.30)
    cap = cylinder(p, 0.175, low=1.56, high=1.78, rounding=0.03)
    return glass, cap


def bowl(p: Points, variation: Tensor) -> Distances:
    radius = 0.85 + 0.05 * variation
    centre = 0.98
    ball_ = length(p.x, p.y - centre, p.z) - radius
    shell = cut(ball_, ball_ + 0.09)
    shell = torch.maximum(shell, p.y - 0.92)
    foot = cylinder(p, 0.36, low=0.0, high=0.2, rounding=0.03)
    distance = melt(shell, torch.maximum(foot, -(ball_ + 0.05)), 0.05)
    return distance, nothing(distance)


def lamp(p: Points, variation: Tensor) -> Distances:
    shade = frustum(p, 0.66, 0.36, low=0.92, high=1.62)
    hole = frustum(p, 0.62, 0.32, low=0.85, high=1.70)
    foot = cylinder(p, 0.40 + 0.05 * variation, low=0.0, high=0.10, rounding=0.04)
    pole = cylinder(p, 0.055, low=0.05, high=1.5, rounding=0.02)
    return cut(shade, hole), join(foot, pole)


def hat(p: Points, variation: Tensor) -> Distances:
    brim = cylinder(p, 0.88 + 0.05 * variation, low=0.0, high=0.09, rounding=0.04)
    crown = frustum(p, 0.53, 0.46, low=0.0, high=0.78)
    band = frustum(p, 0.55, 0.535, low=0.12, high=0.26)
    return melt(brim, crown, 0.10), band


def star(p: Points, variation: Tensor) -> Distances:
    centre = 0.86
    angle = torch.atan2(p.x, p.y - centre)
    sector = 2 * math.pi / 5
    folded = (torch.remainder(angle + sector / 2, sector) - sector / 2).abs()
    radius = length(p.x, p.y - centre)
    along, across = radius * folded.cos(), radius * folded.sin()
    # The line from the tip (0.92, 0) to the notch between two tips.
    notch = 0.40 + 0.03 * variation
    notch_along, notch_across = notch * math.cos(sector / 2), notch * math.sin(sector / 2)
    normal_along, normal_across = notch_across, 0.92 - notch_along
    size = length(normal_along, normal_across)
    flat = ((along - 0.92) * normal_along + across * normal_across) / size
    bulge = 0.20 * (1.0 - (radius / 0.95).clamp_max(1.0)) + 0.08
    distance = flat_box(flat, (p.z.abs() - bulge) * 0.9, rounding=0.03) * 0.9
    return distance, nothing(distance)


def book(p: Points, variation: Tensor) -> Distances:
    thickness = 0.17
    q = p.moved(y=0.80)
    front = box(q.moved(z=thickness), 0.56, 0.78, 0.035, rounding=0.02)
    back = box(q.moved(z=-thickness), 0.56, 0.78, 0.035, rounding=0.02)
    spine = box(q.moved(x=-0.54), 0.04, 0.78, thickness + 0.03, rounding=0.03)
    label_height = 0.10 + 0.04 * variation
    label = box(q.moved(y=0.30, z=thickness + 0.032), 0.32, 1.0, 0.012, rounding=0.005)
    label = torch.maximum(label, (q.y - 0.30).abs() - label_height)
    pages = box(q.moved(x=-0.01), 0.53, 0.74, thickness - 0.02, rounding=0.02)
    return join(front, back, spine), join(pages, label)


def four_legs(p: Points, *, apart: float, height: float, thickness: float) -> Tensor:
    """One leg in each quadrant."""
    folded = Points(p.x.abs() - apart, p.y - height / 2, p.z.abs() - apart)
    return box(folded, thickness, height / 2, thickness, rounding=0.02)


def chair(p: Points, variation: Tensor) -> Distances:
    legs = four_legs(p, apart=0.44, height=0.75, thickness=0.065)
    seat = box(p.moved(y=0.78), 0.54, 0.07, 0.54, rounding=0.04)
    back_y = 1.42 + 0.06 * variation
    back = box(Points(p.x, p.y - back_y, p.z + 0.46), 0.52, 0.26, 0.06, rounding=0.04)
    folded = Points(p.x.abs() - 0.42, p.y - 1.15, p.z + 0.46)
    posts = box(folded, 0.06, 0.42, 0.055, rounding=0.02)
    distance = join(legs, seat, back, posts)
    return distance, nothing(distance)


def table(p: Points, variation: Tensor) -> Distances:
    legs = four_legs(p, apart=0.68, height=0.95, thickness=0.075)
    top = box(p.moved(y=0.98), 0.90, 0.07, 0.90, rounding=0.04)
    rail = box(p.moved(y=0.86), 0.70, 0.08, 0.70, rounding=0.02)
    distance = join(legs, top, rail) + 0.005 * variation
    return distance, nothing(distance)


def ring(p: Points, variation: Tensor) -> Distances:
    thickness = 0.19 + 0.03 * variation
    distance = length(length(p.x, p.y - 0.84) - 0.62, p.z) - thickness
    return distance, nothing(distance)


def cone(p: Points, variation: Tensor) -> Distances:
    distance = frustum(p, 0.72, 0.03, low=0.0, high=1.6) + 0.02 * variation
    return distance, nothing(distance)


def apple(p: Points, variation: Tensor) -> Distances:
    tall = 1.0 + 0.05 * variation
    body = length(p.radius - 0.27, (p.y - 0.68) / tall) - 0.50
    body = (body + 0.10 * (0.6 - p.y).clamp_min(0) * (p.radius > 0)) * 0.85
    bent = p.moved(x=0.0, y=1.28)
    stem = length(bent.x - 0.25 * bent.y.clamp(-0.2, 0.3), bent.y - bent.y.clamp(-0.2, 0.3), bent.z)
    return body, (stem - 0.045) * 0.9


def mushroom(p: Points, variation: Tensor) -> Distances:
    wide = 0.82 + 0.05 * variation
    dome = length(p.x / wide, (p.y - 0.78) / 0.66, p.z / wide) - 1.0
    cap = torch.maximum(dome * 0.62, 0.76 - p.y - 0.05) - 0.03
    stem = melt(
        cylinder(p, 0.26, low=0.0, high=0.9, rounding=0.08),
        length(p.x, p.y - 0.16, p.z) - 0.30,
        0.2,
    )
    return cap, torch.maximum(stem, -p.y)


def gift(p: Points, variation: Tensor) -> Distances:
    del variation
    half = 0.60
    parcel = box(p.moved(y=half), half, half, half, rounding=0.03)
    one = box(p.moved(y=half), 0.11, half + 0.015, half + 0.015, rounding=0.02)
    other = box(p.moved(y=half), half + 0.015, half + 0.015, 0.11, rounding=0.02)
    loop = Points(p.x.abs() - 0.24, (p.y - 1.40) * 1.3, p.z)
    bow = torus(loop, 0.19, 0.065) * 0.75
    return parcel, join(one, other, bow)


SHAPES: Final[dict[str, ShapeOfObject]] = {
    "ball": ShapeOfObject(ball),
    "cube": ShapeOfObject(cube),
    "mug": ShapeOfObject(mug),
    "vase": ShapeOfObject(vase),
    "bottle": ShapeOfObject(bottle),
    "bowl": ShapeOfObject(bowl),
    "lamp": ShapeOfObject(lamp),
    "hat": ShapeOfObject(hat),
    "star": ShapeOfObject(star),
    "book": ShapeOfObject(book, CREAM),
    "chair": ShapeOfObject(chair),
    "table": ShapeOfObject(table),
    "ring": ShapeOfObject(ring),
    "cone": ShapeOfObject(cone),
    "apple": ShapeOfObject(apple, WOOD_BROWN),
    "mushroom": ShapeOfObject(mushroom, CREAM),
    "gift": ShapeOfObject(gift, GOLD),
}
