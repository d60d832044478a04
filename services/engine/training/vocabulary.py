"""What the training pictures show and how captions say it."""

import hashlib
import itertools
from dataclasses import dataclass
from random import Random
from typing import Final

from services.engine.training.shapes import SHAPES

Colour = tuple[float, float, float]

OBJECTS: Final = tuple(SHAPES)
# sRGB. Far enough apart that shading does not turn one into another.
COLOURS: Final[dict[str, Colour]] = {
    "red": (0.86, 0.10, 0.12),
    "orange": (0.98, 0.50, 0.05),
    "yellow": (0.98, 0.84, 0.10),
    "green": (0.13, 0.62, 0.24),
    "blue": (0.10, 0.32, 0.85),
    "purple": (0.48, 0.16, 0.72),
    "pink": (0.98, 0.48, 0.70),
    "brown": (0.45, 0.26, 0.13),
    "black": (0.07, 0.07, 0.08),
    "white": (0.95, 0.95, 0.94),
}
BACKGROUNDS: Final[dict[str, Colour]] = {
    "white": (0.96, 0.96, 0.95),
    "gray": (0.58, 0.59, 0.61),
    "blue": (0.58, 0.76, 0.93),
    "green": (0.66, 0.86, 0.68),
    "yellow": (0.97, 0.90, 0.62),
    "pink": (0.97, 0.76, 0.80),
}
MATERIALS: Final = ("matte", "glossy", "metallic", "striped")
LIGHTS: Final = ("left", "right", "above", "soft")

COLOUR_WORDS: Final = {"purple": ("purple", "violet")}
OBJECT_WORDS: Final = {"mug": ("mug", "cup"), "ball": ("ball", "sphere")}
BACKGROUND_WORDS: Final = {"gray": ("gray", "grey")}
MATERIAL_WORDS: Final = {
    "matte": ("matte",),
    "glossy": ("glossy", "shiny"),
    "metallic": ("metallic", "metal"),
    "striped": ("striped",),
}
LIGHT_PHRASES: Final = {
    "left": ("light from the left", "lit from the left"),
    "right": ("light from the right", "lit from the right"),
    "above": ("light from above", "lit from above"),
    "soft": ("soft light", "soft studio light"),
}
OPENINGS: Final = (
    "{article} {thing}",
    "{thing}",
    "a photo of {article} {thing}",
    "a picture of {article} {thing}",
    "a studio photo of {article} {thing}",
    "a product photo of {article} {thing}",
)
PLACES: Final = (
    " on a {background} background",
    ", {background} background",
    " in front of a {background} background",
    " on {background}",
    " on a pale {background} background",
    " against a {background} wall",
)
HELD_OUT_PERCENT: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What one picture shows."""

    object_: str
    colour: str
    background: str
    material: str
    light: str

    @property
    def combination(self) -> tuple[str, str, str]:
        return self.object_, self.colour, self.background


def is_held_out(combination: tuple[str, str, str]) -> bool:
    """Combinations no training picture shows; by hash, so that a longer list changes little."""
    digest = hashlib.sha256("/".join(combination).encode()).digest()
    return digest[0] * 100 < HELD_OUT_PERCENT * 256


def combinations(*, held_out: bool) -> list[tuple[str, str, str]]:
    """Every (object, colour, background) of one of the two kinds."""
    every = itertools.product(OBJECTS, COLOURS, BACKGROUNDS)
    return [c for c in every if is_held_out(c) == held_out]


def draw_content(random: Random, combination: tuple[str, str, str]) -> Content:
    """A picture of the combination, material and light by chance."""
    return Content(
        object_=combination[0],
        colour=combination[1],
        background=combination[2],
        material=random.choices(MATERIALS, weights=(4, 3, 2, 2))[0],
        light=random.choice(LIGHTS),
    )


def write_caption(random: Random, content: Content) -> str:
    """One of many ways to say it; material and light are said or not."""
    words = [word_for(random, COLOUR_WORDS, content.colour)]
    if random.random() < 0.6:
        place = 0 if random.random() < 0.7 else 1
        words.insert(place, random.choice(MATERIAL_WORDS[content.material]))
    words.append(word_for(random, OBJECT_WORDS, content.object_))
    thing = " ".join(words)
    article = "an" if thing[0] in "aeio" else "a"
    background = word_for(random, BACKGROUND_WORDS, content.background)
    caption = random.choice(OPENINGS).format(article=article, thing=thing)
    caption += random.choice(PLACES).format(background=background)
    if random.random() < 0.5:
        caption += ", " + random.choice(LIGHT_PHRASES[content.light])
    if random.random() < 0.15:
        caption = caption[0].upper() + caption[1:]
    return caption + "." if random.random() < 0.15 else caption


def word_for(random: Random, synonyms: dict[str, tuple[str, ...]], word: str) -> str:
    """The word itself, or one that means the same."""
    return random.choice(synonyms.get(word, (word,)))


def plain_prompt(combination: tuple[str, str, str]) -> str:
    """How the accuracy of the model is asked for."""
    object_, colour, background = combination
    article = "an" if colour[0] in "aeio" else "a"
    return f"{article} {colour} {object_} on a {background} background"


def all_words() -> tuple[str, ...]:
    """Every word a caption can hold, and some that prompts are likely to."""
    said = [*OBJECTS, *COLOURS, *BACKGROUNDS]
    for synonyms in (COLOUR_WORDS, OBJECT_WORDS, BACKGROUND_WORDS, MATERIAL_WORDS, LIGHT_PHRASES):
        said += [word for phrases in synonyms.values() for text in phrases for word in text.split()]
    for template in (*OPENINGS, *PLACES):
        said += [word for word in template.replace(",", " ").split() if "{" not in word]
    likely = "a an the and with of at in by small large big simple table shadow close up render"
    return tuple(sorted({*said, *likely.split()}))
