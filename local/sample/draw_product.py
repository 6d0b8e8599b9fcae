"""Draws product.jpg, the sample that the demo drops: `python local/sample/draw_product.py [FILE]`.

A bottle of a perfume that nobody sells, lit by a softbox from the left, on a seamless warm ground. Every
shape is a signed distance (its edge is smooth at any size), every pixel the sum of what a studio puts
there. The same picture comes out of every run. It takes some ten seconds: plain Python, and PyAV alone
for the JPEG.
"""

import math
import sys
from pathlib import Path

import av

WIDTH, HEIGHT = 1280, 960
CENTRE, GROUND = 640.0, 762.0
"""The bottle's axis, and where it stands."""

Colour = tuple[float, float, float]
Point = tuple[float, float]
Layer = tuple[Colour, float]
"""A colour and how much of what is behind it it covers."""

GLASS_TOP, LIQUID_TOP, BASE_TOP = 366.0, 438.0, 726.0
GOLD: Colour = (0.84, 0.62, 0.30)
CREAM: Colour = (0.97, 0.94, 0.88)
INK: Colour = (0.30, 0.20, 0.13)


def step(low: float, high: float, value: float) -> float:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = min(1.0, max(0.0, (value - low) / (high - low)))
    return t * t * (3 - 2 * t)


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """``a`` at 0, ``b`` at 1."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def lit(colour: Colour, light: float) -> Colour:
    """The colour under more or less light."""
    return (colour[0] * light, colour[1] * light, colour[2] * light)


def box(x: float, y: float, centre: Point, half: Point, radius: float) -> float:
    """Distance to a rounded rectangle; negative inside."""
    dx, dy = abs(x - centre[0]) - half[0] + radius, abs(y - centre[1]) - half[1] + radius
    return math.hypot(max(dx, 0.0), max(dy, 0.0)) + min(max(dx, dy), 0.0) - radius


def inside(distance: float, softness: float = 0.8) -> float:
    """How much of a pixel a shape covers, from its distance."""
    return 1.0 - step(-softness, softness, distance)


def bell(x: float, middle: float, width: float) -> float:
    """A soft bump of height 1."""
    return math.exp(-(((x - middle) / width) ** 2))


def studio(x: float, y: float) -> Colour:
    """The seamless ground: a glow behind the bottle, a lighter floor, the bottle's shadow and its glow."""
    glow = bell(math.hypot(x - 560, (y - 400) * 1.15), 0, 560)
    wall = mix((0.40, 0.32, 0.28), (0.93, 0.85, 0.77), glow)
    floor = mix((0.50, 0.41, 0.35), (0.90, 0.82, 0.75), bell(math.hypot(x - 560, (y - 800) * 1.6), 0, 620))
    colour = mix(wall, floor, step(600, 800, y))
    # Light comes from the left: the shadow lies to the right, softer the farther it gets from the glass.
    reach = step(CENTRE - 170, CENTRE + 60, x)
    along = max(0.0, x - CENTRE)
    shadow = 0.52 * reach * bell(y, GROUND + 4 + along * 0.05, 16 + along * 0.075) * bell(along, 0, 330)
    contact = 0.60 * bell(y, GROUND + 1, 7) * (1 - step(140, 176, abs(x - CENTRE)))
    colour = lit(colour, (1 - shadow) * (1 - contact))
    # What the amber lets through.
    caustic = 0.30 * bell(x, CENTRE + 235, 95) * bell(y, GROUND + 17, 15)
    return (colour[0] + caustic, colour[1] + caustic * 0.52, colour[2] + caustic * 0.16)


def cap(x: float, y: float) -> Layer:
    """A black lacquered cylinder with a softbox in it."""
    u = (x - CENTRE) / 72
    light = 0.045 + 0.55 * bell(u, -0.52, 0.17) + 0.10 * bell(u, -0.15, 0.5) + 0.22 * bell(u, 0.80, 0.09)
    light *= 0.78 + 0.22 * step(330, 180, y) if y > 330 else 0.82 + 0.18 * (1 - (y - 178) / 152)
    light += 0.30 * bell(y, 183, 3.0) * (1 - abs(u) * 0.5)
    return (light, light * 0.97, light * 0.95), inside(box(x, y, (CENTRE, 256), (72, 78), 9))


def collar(x: float, y: float) -> Layer:
    """A gold ring under the cap."""
    u = (x - CENTRE) / 60
    light = 0.42 + 0.95 * bell(u, -0.5, 0.2) + 0.35 * bell(u, 0.55, 0.22) - 0.25 * bell(u, 0.05, 0.2)
    light *= 1 - 0.45 * bell(y, 350, 2.2)
    light = min(light, 1.12)
    return (GOLD[0] * light, GOLD[1] * light, GOLD[2] * light), inside(box(x, y, (CENTRE, 349), (60, 17), 4))


def label(x: float, y: float) -> Layer:
    """Cream paper with a thin gold frame, an emblem and two lines that stand for words."""
    paper = lit(CREAM, 1.0 - 0.13 * (x - CENTRE + 84) / 168)
    frame = inside(abs(box(x, y, (CENTRE, 584), (75, 71), 1)) - 0.9)
    ring = inside(abs(math.hypot(x - CENTRE, y - 556) - 23) - 1.4)
    petals = 0.0
    for turn in range(6):
        angle = turn * math.pi / 3
        petals = max(petals, inside(math.hypot(x - CENTRE - 9 * math.cos(angle), y - 556 - 9 * math.sin(angle)) - 5.2))
    name = inside(box(x, y, (CENTRE, 606), (46, 3.4), 3))
    line = inside(box(x, y, (CENTRE, 624), (28, 1.8), 1.5))
    paper = mix(paper, GOLD, max(frame, ring, petals) * 0.9)
    paper = mix(paper, INK, max(name, line) * 0.85)
    return paper, inside(box(x, y, (CENTRE, 584), (84, 80), 3))


def glass(x: float, y: float, behind: Colour) -> Layer:
    """The flacon: clear walls and base, amber inside, the softbox on its shoulder."""
    distance = box(x, y, (CENTRE, (GLASS_TOP + GROUND) / 2), (156, (GROUND - GLASS_TOP) / 2), 38)
    cover = inside(distance)
    if cover == 0:
        return behind, 0.0
    u = (x - CENTRE) / 156
    wall = step(-26, -2, distance)
    colour = lit(behind, 0.97 - 0.12 * abs(u) - 0.34 * wall)
    # The amber: deep at the sides, where the light's way through it is long, bright low in the middle.
    amber = mix((0.98, 0.66, 0.30), (0.55, 0.22, 0.06), min(1.0, abs(u + 0.12) ** 2.4 * 1.15))
    amber = lit(amber, 0.80 + 0.38 * bell(y, 690, 110) * bell(u, -0.05, 0.7) + 0.10 * bell(y, LIQUID_TOP, 30))
    filled = inside(box(x, y, (CENTRE, (LIQUID_TOP + BASE_TOP) / 2), (138, (BASE_TOP - LIQUID_TOP) / 2), 20), 1.4)
    colour = mix(colour, amber, filled * 0.94)
    surface = bell(y, LIQUID_TOP + 2, 2.0) * (1 - step(120, 137, abs(x - CENTRE)))
    colour = mix(colour, (1.0, 0.86, 0.62), surface * 0.75)
    # The thick base bends the amber into a bright and a dark band.
    base = step(BASE_TOP, BASE_TOP + 5, y)
    band = mix((0.90, 0.62, 0.36), (0.99, 0.90, 0.78), bell(y, BASE_TOP + 15, 6) * bell(u, -0.2, 0.7))
    colour = mix(
        colour, lit(band, 0.98 - 0.45 * abs(u) ** 3 - 0.25 * bell(y, GROUND - 3, 4)), base * (1 - wall * 0.55) * 0.8
    )
    paper, covered = label(x, y)
    colour = mix(colour, paper, covered)
    # The front: a tall softbox on the left, a reflector on the right, a bright rim where the glass turns.
    fade = 0.95 - 0.5 * (y - GLASS_TOP) / (GROUND - GLASS_TOP)
    window = inside(box(x, y, (CENTRE - 113, 560), (15, 168), 14), 3.0) * fade * 0.80
    card = inside(box(x, y, (CENTRE + 126, 570), (4.5, 150), 4), 2.5) * 0.42
    rim = bell(distance, -3.5, 2.6) * (0.40 - 0.15 * u)
    shoulder = bell(y, GLASS_TOP + 12, 5) * (1 - step(80, 130, abs(x - CENTRE + 20))) * 0.55
    colour = mix(colour, (1.0, 0.985, 0.96), min(0.96, max(window, card, rim, shoulder)))
    return colour, cover


def bottle(x: float, y: float, behind: Colour) -> Colour:
    """The product in front of what is behind it."""
    if abs(x - CENTRE) > 160 or not 174 < y < GROUND + 3:
        return behind
    for colour, cover in (glass(x, y, behind), collar(x, y), cap(x, y)):
        behind = mix(behind, colour, cover)
    return behind


def pixel(x: float, y: float) -> Colour:
    """What the camera sees, and the floor's faint mirror image of it."""
    seen = studio(x, y)
    if y > GROUND:
        depth = y - GROUND
        mirrored = bottle(x, GROUND - depth * 0.96 - 2, seen)
        seen = mix(seen, mirrored, 0.26 * math.exp(-depth / 55))
    seen = bottle(x, y, seen)
    corner = math.hypot((x - WIDTH / 2) / WIDTH, (y - HEIGHT / 2) / HEIGHT)
    return lit(seen, 1.02 - 0.34 * corner * corner)


def picture() -> bytes:
    """All pixels, row by row, eight bits a channel."""
    pixels = bytearray()
    grain = 1
    for y in range(HEIGHT):
        for x in range(WIDTH):
            # A little grain, as film has: without it the soft ground would show bands.
            grain = (grain * 1103515245 + 12345) & 0x7FFFFFFF
            noise = (grain >> 16) / 0x7FFF - 0.5
            pixels.extend(min(255, max(0, round(channel * 255 + noise * 1.6))) for channel in pixel(x + 0.5, y + 0.5))
    return bytes(pixels)


def write_jpeg(pixels: bytes, path: Path) -> None:
    """Encode the pixels."""
    frame = av.VideoFrame(WIDTH, HEIGHT, "rgb24")
    frame.planes[0].update(pixels)
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=1, options={"qmin": "2", "qmax": "3"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        stream.codec_context.color_range = 2  # the full range, as JPEGs have it
        full = frame.reformat(format="yuvj420p", dst_color_range="JPEG", dst_colorspace="ITU601")
        container.mux(stream.encode(full))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("product.jpg")
    write_jpeg(picture(), target)
