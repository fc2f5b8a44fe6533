"""Letters and digits in the fonts that matplotlib ships, drawn the hard way: a data set without a network.

Every image comes from its own random generator, seeded with (seed, split, index), so any range of any
split renders alone, in any order, to the same pixels, and two splits never share an image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from qbench.data.base import DATASETS, SPLITS, Dataset, Split

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

# Those of matplotlib's fonts that have ordinary latin capitals and digits at their ordinary code points.
# Left out: symbol fonts (cmsy, cmex, STIXSiz*), private code points (STIXNonUni*), cmmi10 (old-style digits).
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10"),
)

# Difficulty. Float accuracy has to leave room below it and above it: a network at 99 % hides the losses
# of a quantized one, and one at 70 % drowns them. These constants put the built-in network at 94 %.
CAP_HEIGHT_PX = (20.0, 42.0)  # of an image 64 high
ROTATION_DEG = 20.0  # either way; 6 and 9, M and W, N and Z stay themselves
SHEAR = 0.25
STRETCH = 0.2  # width against height, as a logarithm
SHIFT_PX = 6.0  # of the centre, either way
CONTRAST = (30.0, 115.0)  # grey levels between a glyph and what lies behind it
TINT = 38.0  # how far a colour strays from its grey level, a channel
BLUR_PX = (0.2, 1.7)
NOISE_LEVELS = (2.0, 28.0)  # standard deviation
DISTRACTORS = (1, 3)  # pieces of other glyphs, in from the edges
STROKES = (0, 2)  # thin lines across the glyph itself
MASK_PX = 96  # side of a kept glyph shape, which holds the fonts' widest W and deepest Q
SHAPE_CAP_PX = 42.0


@DATASETS.register("glyphs")
@dataclass(frozen=True)
class Glyphs(Dataset):
    """Capitals and digits, turned, sheared, blurred, noisy and coloured, on cluttered backgrounds.

    0 and O are one class, and so are 1 and I: in several fonts nobody could tell them apart.
    """

    classes: ClassVar[tuple[str, ...]] = ("0O", "1I", *"23456789ABCDEFGHJKLMNPQRSTUVWXYZ")
    image_shape: ClassVar[tuple[int, int, int]] = (64, 64, 3)
    sizes: ClassVar[dict[Split, int]] = {
        "train": 40_000,
        "calibration": 2_000,
        "selection": 2_000,
        "test": 10_000,
    }
    origin: ClassVar[str] = "Letters and digits drawn by qbench in 21 fonts that matplotlib ships."
    rendered_by: ClassVar[tuple[str, ...]] = ("pillow", "matplotlib", "numpy")

    seed: int = 0

    def render(self, split: Split, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw a range; about 1 ms an image."""
        number = SPLITS.index(split)
        labels = np.array([self.label(number, index) for index in range(start, stop)], np.int64)
        images = np.empty((stop - start, *self.image_shape), np.uint8)
        for row, label in enumerate(labels):
            # The trailing 1 keeps these generators apart from those of `label`.
            rng = np.random.default_rng([self.seed, number, start + row, 1])
            images[row] = draw(str(rng.choice(list(self.classes[label]))), rng, self.image_shape[0])
        return images, labels

    def label(self, split_number: int, index: int) -> int:
        """Return an example's class: each run of len(classes) examples has every class once, shuffled."""
        block, place = divmod(index, len(self.classes))
        rng = np.random.default_rng([self.seed, split_number, block, 0])
        return int(rng.permutation(len(self.classes))[place])


def draw(character: str, rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw one character as (side, side, 3) uint8."""
    from PIL import Image, ImageDraw, ImageFilter

    grey = rng.uniform(45, 210)
    image = Image.fromarray(_background(grey, rng, side))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 4)):
        x, y = rng.uniform(0, side, 2)
        wide, high = rng.uniform(side / 16, side / 4, 2)
        pen.ellipse((x - wide, y - high, x + wide, y + high), fill=_colour(grey + rng.uniform(-30, 30), rng))
    for _ in range(rng.integers(1, 5)):
        _stroke(pen, grey + rng.uniform(-60, 60), rng, side)
    others = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    for _ in range(rng.integers(DISTRACTORS[0], DISTRACTORS[1] + 1)):
        # Its centre lies on a circle that leaves a piece of it in the image, never the whole of it.
        angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.53, 0.66) * side
        centre = (side / 2 + reach * math.cos(angle), side / 2 + reach * math.sin(angle))
        mask = _placed(others[rng.integers(len(others))], centre, rng, side)
        image.paste(_colour(_against(grey, rng), rng), mask=mask)

    centre = tuple(side / 2 + rng.uniform(-SHIFT_PX, SHIFT_PX, 2))
    image.paste(_colour(_against(grey, rng), rng), mask=_placed(character, centre, rng, side))
    for _ in range(rng.integers(STROKES[0], STROKES[1] + 1)):
        _stroke(pen, grey + rng.uniform(-60, 60), rng, side)

    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(*BLUR_PX)))
    noise = rng.standard_normal((side, side, 3), dtype=np.float32)
    noise *= np.float32(rng.uniform(*NOISE_LEVELS))
    noise += np.asarray(image)
    return np.clip(noise, 0, 255, out=noise).astype(np.uint8)


def _background(grey: float, rng: np.random.Generator, side: int) -> np.ndarray:
    """Return a gradient between two colours around a grey level, in a random direction."""
    angle = rng.uniform(0, 2 * math.pi)
    along = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    slope = along[None, :] * math.cos(angle) + along[:, None] * math.sin(angle)
    ends = np.array([_colour(grey + rng.uniform(-25, 25), rng) for _ in range(2)], np.float32)
    colours = ends.mean(axis=0) + slope[..., None] * (ends[1] - ends[0])
    return np.clip(colours, 0, 255, out=colours).astype(np.uint8)


def _against(grey: float, rng: np.random.Generator) -> float:
    """Return a grey level that stands out from `grey`, on the side where there is room."""
    contrast = rng.uniform(*CONTRAST)
    lighter = grey + contrast <= 255 and (grey - contrast < 0 or rng.random() < 0.5)
    return grey + contrast if lighter else grey - contrast


def _colour(grey: float, rng: np.random.Generator) -> tuple[int, ...]:
    """Return a colour of about this grey level: the tint of its channels sums to zero."""
    red, green, blue = rng.uniform(-TINT, TINT, 3).tolist()  # plain floats: drawn a dozen times an image
    level = grey - (red + green + blue) / 3
    return tuple(int(min(max(level + tint, 0), 255)) for tint in (red, green, blue))


def _stroke(pen: ImageDraw, grey: float, rng: np.random.Generator, side: int) -> None:
    """Draw a thin line from one random point to another."""
    pen.line(tuple(rng.uniform(0, side, 4)), fill=_colour(grey, rng), width=int(rng.integers(1, 3)))


def _placed(character: str, centre: tuple[float, ...], rng: np.random.Generator, side: int) -> Image:
    """Return a character's coverage of the image: one random font, turned, sheared, stretched, centred."""
    from PIL import Image

    shape = _shape(FONTS[rng.integers(len(FONTS))], character)
    turn = math.radians(rng.uniform(-ROTATION_DEG, ROTATION_DEG))
    stretch = math.exp(rng.uniform(-STRETCH, STRETCH) / 2)
    scale = rng.uniform(*CAP_HEIGHT_PX) / SHAPE_CAP_PX
    slant = rng.uniform(-SHEAR, SHEAR)
    # Pillow asks where each pixel of the result comes from: the inverse of turn @ slant @ scale, worked out.
    cos, sin = math.cos(turn), math.sin(turn)
    wide, high = scale * stretch, scale / stretch
    a, b = (cos + slant * sin) / wide, (sin - slant * cos) / wide
    c, d = -sin / high, cos / high
    x, y = centre
    rows = (a, b, MASK_PX / 2 - a * x - b * y, c, d, MASK_PX / 2 - c * x - d * y)
    return shape.transform((side, side), Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR)


@cache  # 21 fonts x 36 characters x 9 kB: 7 MB at most
def _shape(font: str, character: str) -> Image:
    """Return a character upright and centred, its capitals SHAPE_CAP_PX high, as 8-bit coverage."""
    from PIL import Image, ImageDraw

    shape = Image.new("L", (MASK_PX, MASK_PX))
    face = _face(font)
    left, top, right, bottom = face.getbbox(character)
    at = ((MASK_PX - left - right) / 2, (MASK_PX - top - bottom) / 2)
    ImageDraw.Draw(shape).text(at, character, fill=255, font=face)
    return shape


@cache
def _face(font: str) -> FreeTypeFont:
    """Open a font at the size that makes its H SHAPE_CAP_PX high: fonts disagree on what a size is."""
    import matplotlib
    from PIL import ImageFont

    path = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf")
    _, top, _, bottom = ImageFont.truetype(path, 100).getbbox("H")
    return ImageFont.truetype(path, 100 * SHAPE_CAP_PX / (bottom - top))
