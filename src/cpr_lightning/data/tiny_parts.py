"""The two generated products of the tiny dataset, a turned washer and a woven cloth, and their defects."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cpr_lightning.data.defect_masks import perlin_noise

Field = NDArray[np.floating]
"""(size, size), or (size, size, 3) where it is a colour; brightness 0 to 1. Lengths are parts of the side."""

STEPS = np.linspace(-0.5, 0.5, 40)
"""Places along a stroke, from end to end."""


@dataclass(frozen=True)
class Scene:
    """A defect-free product before the camera adds its noise.

    `x`, `y`: coordinates in the product's own frame, 0 in the middle; `surface`: where the product is, 0 to
    1; `behind`: the colour that shows where the product is missing.
    """

    colour: Field
    x: Field
    y: Field
    surface: Field
    behind: Field


def _placed_axes(size: int, rng: np.random.Generator, degrees: float, shift: float) -> tuple[Field, Field]:
    """Coordinates of the pixels in a product that lies slightly turned and moved."""
    line = (np.arange(size) + 0.5) / size - 0.5
    x, y = line + rng.uniform(-shift, shift), line[:, None] + rng.uniform(-shift, shift)
    angle = np.deg2rad(rng.uniform(-degrees, degrees))
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _inside(distance: Field) -> Field:
    """1 where a signed distance is negative, 0 where it is positive, smooth over about one pixel."""
    return np.clip(0.5 - distance * len(distance), 0.0, 1.0)


def _light(size: int, rng: np.random.Generator) -> Field:
    """The lighting, about 1: overall strength and a slope across the image."""
    line = np.linspace(-1.0, 1.0, size)
    slope_x, slope_y = rng.uniform(-0.06, 0.06, 2)
    return rng.uniform(0.94, 1.06) + slope_x * line + slope_y * line[:, None]


def _mixed(below: Field, above: Field, opacity: Field) -> Field:
    return below + opacity[..., None] * (above - below)


def _washer(size: int, rng: np.random.Generator) -> Scene:
    """A turned steel flange with a bore, four bolt holes and a key slot on a dark bench."""
    x, y = _placed_axes(size, rng, degrees=4.0, shift=0.02)
    light = _light(size, rng)[..., None]
    grain = 0.02 * perlin_noise(size, (16, 16), rng) + 0.01 * rng.standard_normal((size, size))
    bench = (np.array([0.20, 0.23, 0.27]) + grain[..., None]) * light
    radius, turn = np.hypot(x, y), np.arctan2(y, x)
    holes = np.min([np.hypot(x - 0.26 * c, y - 0.26 * s) for c, s in _crosswise()], axis=0)
    slot = np.maximum(np.abs(x) - 0.03, np.abs(y + 0.13) - 0.05)
    gap = np.min([radius - 0.13, holes - 0.042, slot], axis=0)
    distance = np.maximum(radius - 0.40, -gap)
    # Turned metal mirrors a lamp as two bright wedges; its grooves break them up.
    wedges = 0.5 + 0.5 * np.cos(2.0 * (turn - np.deg2rad(rng.uniform(35.0, 55.0))))
    grooves = np.interp(radius * 160.0, np.arange(130), rng.normal(0.0, 0.035, 130))
    steel = 0.52 + 0.16 * wedges**2 + grooves - 0.10 * (np.abs(radius - 0.20) < 0.008)
    rim = np.clip(1.0 + distance / 0.014, 0.0, 1.0)  # the chamfer: lit from the upper left
    slope_y, slope_x = np.gradient(distance, 1.0 / size)
    steel = steel - 0.22 * rim * (slope_x + slope_y)
    metal = (steel + 0.6 * grain)[..., None] * np.array([0.97, 1.0, 1.04]) * light
    surface = _inside(distance)
    reach = round(0.02 * size)
    shadow = np.roll(np.asarray(cv2.GaussianBlur(surface, (0, 0), 0.015 * size)), (reach, reach), (0, 1))
    shaded = bench * (1.0 - 0.55 * shadow[..., None])
    # Where a piece is missing it casts no shadow either, but its neighbourhood does.
    behind = bench * (1.0 - 0.3 * shadow[..., None])
    return Scene(_mixed(shaded, metal, surface), x, y, surface, behind)


def _crosswise() -> list[tuple[float, float]]:
    return [(float(np.cos(a)), float(np.sin(a))) for a in np.deg2rad([45.0, 135.0, 225.0, 315.0])]


def _weave(size: int, rng: np.random.Generator) -> Scene:
    """Plain-woven cloth of two yarns, any phase, slightly turned and pulled."""
    x, y = _placed_axes(size, rng, degrees=3.0, shift=0.5)
    pull = 0.004 * perlin_noise(size, (3, 3), rng)
    column, row = (x + pull) * 22.0 + 40.0, (y - pull) * 22.0 + 40.0
    warp, weft = np.floor(column).astype(int), np.floor(row).astype(int)
    across, along = column - warp - 0.5, row - weft - 0.5
    over = ((warp + weft) % 2).astype(bool)  # the warp lies on top
    round_, bulge = np.where(over, across, along), np.where(over, along, across)
    height = np.cos(np.pi * 0.92 * round_) * (0.72 + 0.28 * np.cos(np.pi * bulge))
    yarn = np.where(over, rng.normal(0.0, 0.03, 90)[warp], rng.normal(0.0, 0.03, 90)[weft])
    twist = 0.04 * np.sin(2.0 * np.pi * (bulge * 3.0 + round_ * 2.0))
    fibre = 0.02 * rng.standard_normal((size, size))
    shade = (0.25 + 0.75 * height + yarn + twist + fibre) * _light(size, rng)
    dyed = np.where(over[..., None], np.array([0.78, 0.70, 0.56]), np.array([0.42, 0.50, 0.58]))
    colour = shade[..., None] * dyed
    return Scene(colour, x, y, np.ones((size, size)), np.full_like(colour, 0.06))


def _stroke(
    size: int, rng: np.random.Generator, centre: Field, length: float, width: Field | float, wiggle: float
) -> Field:
    """Opacity of a bent stroke through `centre` = (x, y) in pixels; `width` may change along its STEPS."""
    angle, bend, phase = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(-0.25, 0.25), rng.uniform(0.0, 6.28)
    aside = bend * length * (STEPS**2 * 4.0 - 0.5) + wiggle * np.sin(STEPS * 15.0 + phase)
    half = np.broadcast_to(np.asarray(width) / 2.0, STEPS.shape)
    along = np.concatenate([STEPS, STEPS[::-1]]) * length
    across = np.concatenate([aside + half, (aside - half)[::-1]])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    outline = centre + np.stack([along, across], axis=1) @ turn * size
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, [np.rint(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return canvas / 255.0


def _blob(size: int, rng: np.random.Generator, centre: Field, radius: float, softness: float) -> Field:
    """Opacity of an irregular patch around `centre` = (x, y) in pixels; its edge is `softness` wide."""
    line = np.arange(size)
    away_x, away_y = (line - centre[0]) / size, (line[:, None] - centre[1]) / size
    stretch = rng.uniform(0.75, 1.3)
    ragged = np.hypot(away_x * stretch, away_y / stretch) / radius + 0.35 * perlin_noise(size, (12, 12), rng)
    return np.clip((1.0 - ragged) * radius / softness + 0.5, 0.0, 1.0)


def _spot_on(surface: Field, rng: np.random.Generator) -> Field:
    """(x, y) in pixels of a random place on the product, away from its edges and the image's."""
    size = len(surface)
    inner = np.asarray(cv2.erode((surface > 0.5).astype(np.uint8), np.ones((3, 3)), iterations=size // 24))
    border = size // 8
    inner[:border] = inner[-border:] = inner[:, :border] = inner[:, -border:] = 0
    places = np.argwhere(inner)
    return places[int(rng.integers(len(places)))][::-1].astype(float)


def _scratch(scene: Scene, rng: np.random.Generator) -> Field:
    """A bright or a dark groove."""
    size = len(scene.colour)
    width = rng.uniform(0.012, 0.018) * np.cos(np.pi * STEPS) ** 0.5
    stroke = _stroke(size, rng, _spot_on(scene.surface, rng), rng.uniform(0.18, 0.32), width, wiggle=0.0015)
    groove = 1.0 - 0.1 * scene.colour if rng.random() < 0.5 else 0.3 * scene.colour
    return _mixed(scene.colour, groove, stroke * scene.surface)


def _missing_chunk(scene: Scene, rng: np.random.Generator) -> Field:
    """A bite out of the outer edge: the bench shows."""
    rim = np.argwhere(np.abs(np.hypot(scene.x, scene.y) - 0.39) < 0.02)
    centre = rim[int(rng.integers(len(rim)))][::-1].astype(float)
    bite = _blob(len(scene.colour), rng, centre, rng.uniform(0.05, 0.085), softness=0.004)
    return _mixed(scene.colour, scene.behind, bite * scene.surface)


def _stain(scene: Scene, rng: np.random.Generator) -> Field:
    """A patch of rust."""
    centre = _spot_on(scene.surface, rng)
    patch = _blob(len(scene.colour), rng, centre, rng.uniform(0.05, 0.085), softness=0.02)
    return _mixed(scene.colour, scene.colour * np.array([0.72, 0.42, 0.22]), 0.9 * patch * scene.surface)


def _tear(scene: Scene, rng: np.random.Generator) -> Field:
    """A slit with frayed, darker lips."""
    size = len(scene.colour)
    width = rng.uniform(0.035, 0.055) * np.cos(np.pi * STEPS) * rng.uniform(0.5, 1.2, STEPS.shape)
    slit = _stroke(size, rng, _spot_on(scene.surface, rng), rng.uniform(0.16, 0.28), width, wiggle=0.003)
    lips = np.clip(2.0 * np.asarray(cv2.GaussianBlur(slit, (0, 0), 0.008 * size)), 0.0, 1.0)
    return _mixed(scene.colour * (1.0 - 0.45 * lips[..., None]), scene.behind, slit)


def _thread(scene: Scene, rng: np.random.Generator) -> Field:
    """A loose thread on the cloth, with its shadow."""
    size = len(scene.colour)
    length, width = rng.uniform(0.25, 0.42), rng.uniform(0.014, 0.02)
    stroke = _stroke(size, rng, _spot_on(scene.surface, rng), length, width, wiggle=0.012)
    reach = max(1, round(0.008 * size))
    shaded = scene.colour * (1.0 - 0.5 * np.roll(stroke, (reach, reach), (0, 1))[..., None])
    dye = np.array([[0.74, 0.18, 0.16], [0.93, 0.93, 0.90], [0.10, 0.11, 0.16]])[int(rng.integers(3))]
    return _mixed(shaded, np.broadcast_to(dye, shaded.shape), stroke)


def _spot(scene: Scene, rng: np.random.Generator) -> Field:
    """An oily spot: the weave shows through."""
    centre = _spot_on(scene.surface, rng)
    patch = _blob(len(scene.colour), rng, centre, rng.uniform(0.05, 0.09), softness=0.025)
    return _mixed(scene.colour, scene.colour * np.array([0.36, 0.33, 0.30]), patch)


PRODUCTS: dict[str, Callable[[int, np.random.Generator], Scene]] = {"washer": _washer, "weave": _weave}
DEFECTS: dict[str, dict[str, Callable[[Scene, np.random.Generator], Field]]] = {
    "washer": {"missing_chunk": _missing_chunk, "scratch": _scratch, "stain": _stain},
    "weave": {"spot": _spot, "tear": _tear, "thread": _thread},
}
