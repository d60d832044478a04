"""Training pictures: one object in a small photo studio, drawn by marching rays.

Everything is done for many pictures at once, on a CPU or a GPU. Light is computed in linear
colours: a key light with soft shadows, a sky, a softbox that shiny things mirror, and the shade
in corners. The floor bends into the backdrop, as paper does in a studio.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from services.engine.training.shapes import FAR, Points, Shape
from services.engine.training.strange_shapes import ALL_SHAPES
from services.engine.training.vocabulary import BACKGROUNDS, COLOURS, MATERIALS, Content

SUPERSAMPLING: Final = 2
MARCH_STEPS: Final = 56
SHADOW_STEPS: Final = 22
SHADOW_START: Final = 0.03
SHADOW_REACH: Final = 3.2
BOUND_CENTRE_Y: Final = 0.85
BOUND_RADIUS: Final = 1.42
HIT_DISTANCE: Final = 0.003
CAMERA_DISTANCE: Final = 6.0
FIELD_OF_VIEW: Final = 0.27
"""Half the picture's height over the distance."""
# Material → how much it mirrors head on, how sharp its highlight is, how strong.
MIRRORING: Final = {"matte": 0.0, "glossy": 0.06, "metallic": 0.55, "striped": 0.03}
SHARPNESS: Final = {"matte": 8.0, "glossy": 90.0, "metallic": 40.0, "striped": 40.0}
HIGHLIGHT: Final = {"matte": 0.04, "glossy": 0.9, "metallic": 0.7, "striped": 0.35}
# Light → direction towards it, how hard its shadow is, its strength, the sky's strength.
LIGHT_DIRECTIONS: Final = {
    "left": (-0.85, 0.75, 0.45),
    "right": (0.85, 0.75, 0.45),
    "above": (0.05, 1.0, 0.25),
    "soft": (0.20, 0.90, 0.55),
}
SHADOW_HARDNESS: Final = {"left": 9.0, "right": 9.0, "above": 8.0, "soft": 3.0}
KEY_STRENGTH: Final = {"left": 0.80, "right": 0.80, "above": 0.75, "soft": 0.50}
SKY_STRENGTH: Final = {"left": 0.38, "right": 0.38, "above": 0.42, "soft": 0.62}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One picture in numbers."""

    content: Content
    yaw: float
    variation: float
    scale: float
    shift_x: float
    camera_height: float
    light_turn: float
    shade: float
    """How much lighter or darker than its name's own the object's colour is, as a factor."""


def draw_scene(random: Random, content: Content) -> Scene:
    """Chance decides what the caption does not."""
    return Scene(
        content=content,
        yaw=random.uniform(-0.55, 0.55),
        variation=random.uniform(-1.0, 1.0),
        scale=random.uniform(0.88, 1.12),
        shift_x=random.uniform(-0.18, 0.18),
        camera_height=random.uniform(1.9, 2.9),
        light_turn=random.uniform(-0.25, 0.25),
        shade=random.uniform(0.9, 1.08),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """A batch of scenes with the same shape as tensors, one row per scene."""

    shape: Shape
    second_colour: Tensor
    yaw: Tensor
    variation: Tensor
    scale: Tensor
    shift_x: Tensor
    camera: Tensor
    to_light: Tensor
    colour: Tensor
    background: Tensor
    mirroring: Tensor
    sharpness: Tensor
    highlight: Tensor
    is_metallic: Tensor
    is_striped: Tensor
    hardness: Tensor
    key: Tensor
    sky: Tensor

    def distances(self, points: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        """[R, 3] points of the scenes [R] → both distances, in the studio's measure."""
        scale = self.scale[scene]
        x = (points[:, 0] - self.shift_x[scene]) / scale
        z = points[:, 2] / scale
        cosine, sine = self.yaw.cos()[scene], self.yaw.sin()[scene]
        own = Points(cosine * x - sine * z, points[:, 1] / scale, sine * x + cosine * z)
        main, second = self.shape(own, self.variation[scene])
        return main * scale, second * scale

    def nearest(self, points: Tensor, scene: Tensor) -> Tensor:
        return torch.minimum(*self.distances(points, scene))


def open_studio(scenes: Sequence[Scene], device: torch.device) -> Studio:
    """All scenes must show the same object."""
    object_ = scenes[0].content.object_
    assert all(scene.content.object_ == object_ for scene in scenes)
    shape = ALL_SHAPES[object_]

    def row(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, device=device, dtype=torch.float32)

    def of_material(table: dict[str, float]) -> Tensor:
        return row([table[s.content.material] for s in scenes])

    def of_light(table: dict[str, float]) -> Tensor:
        return row([table[s.content.light] for s in scenes])

    colours = [COLOURS[s.content.colour] for s in scenes]
    shades = row([s.shade for s in scenes])[:, None]
    return Studio(
        shape=shape.distances,
        second_colour=linear(row(shape.second_colour)),  # pyright: ignore[reportArgumentType]
        yaw=row([s.yaw for s in scenes]),
        variation=row([s.variation for s in scenes]),
        scale=row([s.scale for s in scenes]),
        shift_x=row([s.shift_x for s in scenes]),
        camera=torch.tensor(
            [[0.0, s.camera_height, CAMERA_DISTANCE] for s in scenes], device=device
        ),
        to_light=light_directions(scenes, device),
        colour=linear((torch.tensor(colours, device=device) * shades).clamp(0, 1)),
        background=linear(
            torch.tensor([BACKGROUNDS[s.content.background] for s in scenes], device=device)
        ),
        mirroring=of_material(MIRRORING),
        sharpness=of_material(SHARPNESS),
        highlight=of_material(HIGHLIGHT),
        is_metallic=of_material({m: float(m == "metallic") for m in MATERIALS}),
        is_striped=of_material({m: float(m == "striped") for m in MATERIALS}),
        hardness=of_light(SHADOW_HARDNESS),
        key=of_light(KEY_STRENGTH),
        sky=of_light(SKY_STRENGTH),
    )


def light_directions(scenes: Sequence[Scene], device: torch.device) -> Tensor:
    """[N, 3], each turned a little about the y axis."""
    rows: list[list[float]] = []
    for scene in scenes:
        x, y, z = LIGHT_DIRECTIONS[scene.content.light]
        cosine, sine = math.cos(scene.light_turn), math.sin(scene.light_turn)
        rows.append([cosine * x + sine * z, y, cosine * z - sine * x])
    return normalize(torch.tensor(rows, device=device), dim=-1)


def render(scenes: Sequence[Scene], *, size: int, device: torch.device) -> Tensor:
    """[N, 3, size, size] uint8, for scenes that show the same object."""
    studio = open_studio(scenes, device)
    side = size * SUPERSAMPLING
    origins, directions, scene = camera_rays(studio, side)
    colours = backdrop(studio, origins, directions, scene)
    rays = touching_rays(studio, origins, directions, scene)
    distance, has_hit = march(studio, origins[rays], directions[rays], scene[rays])
    hit = rays[has_hit]
    points = origins[hit] + distance[has_hit, None] * directions[hit]
    colours[hit] = object_colours(studio, points, directions[hit], scene[hit])
    picture = encode(colours).view(len(scenes), side, side, 3).permute(0, 3, 1, 2)
    return (avg_pool2d(picture, SUPERSAMPLING) * 255).round().to(torch.uint8)


def camera_rays(studio: Studio, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Origins and directions [R, 3] and the scene [R] of every ray."""
    camera = studio.camera
    target = camera.new_tensor([0.0, 0.80, 0.0])
    forward = normalize(target - camera, dim=-1)
    right = normalize(torch.linalg.cross(forward, forward.new_tensor([[0.0, 1.0, 0.0]])), dim=-1)
    up = torch.linalg.cross(right, forward)
    steps = (torch.arange(side, device=camera.device) + 0.5) / side * 2 - 1
    v, u = torch.meshgrid(-steps, steps, indexing="ij")
    u, v = u.reshape(1, -1, 1) * FIELD_OF_VIEW, v.reshape(1, -1, 1) * FIELD_OF_VIEW
    directions = normalize(forward[:, None] + u * right[:, None] + v * up[:, None], dim=-1)
    scene = torch.arange(len(camera), device=camera.device).repeat_interleave(side * side)
    return camera[scene], directions.reshape(-1, 3), scene


def touching_rays(studio: Studio, origins: Tensor, directions: Tensor, scene: Tensor) -> Tensor:
    """Indices of the rays that pass near the object at all."""
    centre = bound_centre(studio)[scene]
    along = ((centre - origins) * directions).sum(-1, keepdim=True)
    closest = origins + along * directions
    return ((closest - centre).norm(dim=-1) < BOUND_RADIUS).nonzero()[:, 0]


def bound_centre(studio: Studio) -> Tensor:
    """[N, 3]: the middle of what each object can fill."""
    centre = torch.zeros_like(studio.camera)
    centre[:, 0] = studio.shift_x
    centre[:, 1] = BOUND_CENTRE_Y
    return centre


def march(
    studio: Studio, origins: Tensor, directions: Tensor, scene: Tensor
) -> tuple[Tensor, Tensor]:
    """How far each ray goes, and whether it hits."""
    distance = torch.full_like(origins[:, 0], CAMERA_DISTANCE - BOUND_RADIUS - 0.6)
    for _ in range(MARCH_STEPS):
        step = studio.nearest(origins + distance[:, None] * directions, scene)
        distance = (distance + step).clamp_max(FAR)
    gap = studio.nearest(origins + distance[:, None] * directions, scene)
    return distance, (gap < HIT_DISTANCE * 3) & (distance < FAR - 0.1)


def surface_normals(studio: Studio, points: Tensor, scene: Tensor) -> Tensor:
    """By differences in four directions."""
    corners = points.new_tensor([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]])
    total = torch.zeros_like(points)
    for corner in corners:
        total += corner * studio.nearest(points + 0.004 * corner, scene)[:, None]
    return normalize(total, dim=-1)


def lit_share(studio: Studio, points: Tensor, scene: Tensor) -> Tensor:
    """Soft shadow: how much of the key light reaches each point."""
    to_light, hardness = studio.to_light[scene], studio.hardness[scene]
    travelled = torch.full_like(points[:, 0], SHADOW_START)
    share = torch.ones_like(travelled)
    for _ in range(SHADOW_STEPS):
        gap = studio.nearest(points + travelled[:, None] * to_light, scene)
        share = torch.minimum(share, 0.5 + 0.5 * hardness * gap / travelled)
        travelled = travelled + gap.clamp(0.03, SHADOW_REACH / 12)
    share = share.clamp(0, 1)
    return share * share * (3 - 2 * share)


def openness(studio: Studio, points: Tensor, normals: Tensor, scene: Tensor) -> Tensor:
    """How little of the sky is hidden by what is near (1 in the open, darker in corners)."""
    hidden = torch.zeros_like(points[:, 0])
    for reach, weight in ((0.06, 1.0), (0.16, 0.7), (0.36, 0.5), (0.7, 0.3)):
        above = points + reach * normals
        gap = torch.minimum(studio.nearest(above, scene), above[:, 1])
        hidden = hidden + weight * (reach - gap).clamp_min(0) / reach * 0.5
    return (1.0 - hidden).clamp(0.15, 1)


def object_colours(studio: Studio, points: Tensor, directions: Tensor, scene: Tensor) -> Tensor:
    """Linear colours of what the rays hit."""
    normals = surface_normals(studio, points, scene)
    to_light = studio.to_light[scene]
    shadow = lit_share(studio, points + 0.02 * normals, scene)
    facing = (normals * to_light).sum(-1).clamp_min(0) * shadow
    open_ = openness(studio, points, normals, scene)
    main, second = studio.distances(points, scene)
    is_second = (second < main)[:, None]
    albedo = torch.where(is_second, studio.second_colour, striped(studio, points, scene))
    background = studio.background[scene]
    up = normals[:, 1:2] * 0.5 + 0.5
    sky = studio.sky[scene, None] * (up + (1 - up) * 0.55 * background)
    light = studio.key[scene, None] * facing[:, None] * 1.25 + sky * open_[:, None]
    diffuse = albedo * light

    mirrored = directions - 2 * (directions * normals).sum(-1, keepdim=True) * normals
    seen = surroundings(mirrored, background, to_light) * open_[:, None]
    grazing = (1 + (directions * normals).sum(-1)).clamp(0, 1) ** 4
    metallic = studio.is_metallic[scene]
    mirroring = torch.where(is_second[:, 0], 0.03, studio.mirroring[scene])
    share = mirroring + grazing * (0.25 * (mirroring > 0.02))
    tint = torch.where((metallic > 0.5)[:, None] & ~is_second, albedo * 0.85 + 0.15, 1.0)
    half = normalize(to_light - directions, dim=-1)
    gleam = (normals * half).sum(-1).clamp_min(0) ** studio.sharpness[scene]
    gleam = gleam * studio.highlight[scene] * shadow
    share = share.clamp(0, 0.9)[:, None]
    return diffuse * (1 - share) + share * tint * seen * 1.15 + gleam[:, None] * tint


def striped(studio: Studio, points: Tensor, scene: Tensor) -> Tensor:
    """The object's colour, with broad light bands where it is striped."""
    colour = studio.colour[scene]
    height = points[:, 1] / studio.scale[scene]
    band = torch.sigmoid((torch.sin(height * 2 * math.pi / 0.42) - 0.35) * 14)
    luminance = colour.mean(-1, keepdim=True)
    other = torch.where(luminance > 0.6, colour.new_tensor(0.25), colour.new_tensor(0.9))
    mix = (band * studio.is_striped[scene])[:, None]
    return colour * (1 - mix) + other * mix


def surroundings(directions: Tensor, background: Tensor, to_light: Tensor) -> Tensor:
    """What a mirror sees in the studio: floor, backdrop, a bright softbox, a dark corner."""
    height = directions[:, 1:2]
    floor = background * 0.75
    wall = background * 0.55 + 0.30
    scene = torch.where(height < 0, floor, wall + 0.25 * height)
    horizon = torch.exp(-((height / 0.10) ** 2)) * 0.35
    softbox = torch.sigmoid(((directions * to_light).sum(-1, keepdim=True) - 0.86) * 28) * 1.6
    return scene * (1 - horizon) + softbox


def backdrop(studio: Studio, origins: Tensor, directions: Tensor, scene: Tensor) -> Tensor:
    """Floor and wall behind the object, with its shadow."""
    down = directions[:, 1]
    distance = torch.where(down < -1e-3, -origins[:, 1] / down.clamp_max(-1e-3), FAR * 10)
    points = origins + distance.clamp_max(60.0)[:, None] * directions
    on_floor = torch.sigmoid((points[:, 2] + 5.0) * 1.2) * (down < -1e-3)
    background = studio.background[scene]
    wall_light = 0.92 + 0.18 * (directions[:, 1:2] + 0.25)
    floor_light = 1.0 - 0.025 * (points[:, :1] ** 2 + points[:, 2:] ** 2).clamp_max(9)
    aside = points[:, [0, 2]] - bound_centre(studio)[scene][:, [0, 2]]
    near = aside.norm(dim=-1) < SHADOW_REACH
    close = (near & (on_floor > 0.05)).nonzero()[:, 0]
    shade = torch.ones_like(distance)
    shade[close] = floor_shade(studio, points[close], scene[close])
    floor = background * floor_light * shade[:, None]
    mix = on_floor[:, None]
    return floor * mix + background * wall_light.clamp(0.8, 1.05) * (1 - mix)


def floor_shade(studio: Studio, points: Tensor, scene: Tensor) -> Tensor:
    """Shadow of the key light and the dark line where the object stands."""
    points = torch.stack([points[:, 0], torch.full_like(points[:, 0], 0.01), points[:, 2]], dim=-1)
    shadow = lit_share(studio, points, scene)
    edge = 1 - (points[:, [0, 2]] - bound_centre(studio)[scene][:, [0, 2]]).norm(dim=-1) / (
        SHADOW_REACH
    )
    shadow = 1 - (1 - shadow) * (edge * 4).clamp(0, 1)
    up = torch.zeros_like(points)
    up[:, 1] = 1
    gap = studio.nearest(points + 0.05 * up, scene).clamp_min(0)
    contact = 1 - 0.45 * torch.exp(-gap * 4.5)
    key, sky = studio.key[scene], studio.sky[scene]
    return (sky * contact + key * shadow) / (sky + key)


def linear(srgb: Tensor) -> Tensor:
    """Light of a screen colour."""
    return srgb**2.2


def encode(light: Tensor) -> Tensor:
    """Screen colour of light, the brightest parts rolled off softly."""
    rolled = torch.where(light > 0.8, 0.8 + 0.2 * torch.tanh((light - 0.8) / 0.2 * 0.7), light)
    return rolled.clamp(0, 1) ** (1 / 2.2)
