"""The shape of a video: that of its picture, unless another one is asked for. Pure."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from seedance.jobs import prices
from seedance.jobs.catalogue import Model
from seedance.jobs.job import ImageFacts

if TYPE_CHECKING:
    from seedance.jobs.requests import Request

LARGE_SIDE = 6000
"""The longest side that ByteDance documents. The provider does not mention it (decision of 2026-11-21)."""


def shaped(request: "Request", image: ImageFacts | None) -> tuple["Request", list[str]]:
    """The request with the shape of its picture, unless it asks for a ratio, and notes about the picture.

    By default the provider makes 16:9, which crops most product pictures.
    """
    notes: list[str] = []
    sides = _shown(image)
    if sides and max(sides) > LARGE_SIDE:
        notes.append(f"The image is {sides[0]} x {sides[1]} pixels; above {LARGE_SIDE} a side it may be scaled down.")
    ratio = request.parameters["aspect_ratio"]
    if request.ratio_given or not request.has_image:
        return request, notes
    if ratio == prices.ADAPTIVE:
        notes.append("aspect_ratio is adaptive, so the video has the shape of the image.")
    elif sides:
        ratio = ratio_for(request.model, sides)
        notes.append(f"aspect_ratio is {ratio}, the nearest to the image of {sides[0]} x {sides[1]} pixels.")
    else:
        notes.append(f"aspect_ratio is {ratio}, the default: the size of an image at an address is not known.")
    return replace(request, parameters={**request.parameters, "aspect_ratio": ratio}), notes


def _shown(image: ImageFacts | None) -> tuple[int, int] | None:
    if image is None or "width" not in image or "height" not in image:
        return None
    if shown := image.get("shown"):
        width, _, height = shown.partition("x")
        return int(width), int(height)
    return image["width"], image["height"]


def ratio_for(model: Model, shown: tuple[int, int] | None) -> str | None:
    """The aspect ratio for a picture of this width and height, so that nothing of it is cropped.

    ``adaptive`` where the model has it, else the allowed ratio nearest to the picture's. None if nothing is known about
    the picture.
    """
    allowed: tuple[str, ...] = get_args(model.parameters.model_fields["aspect_ratio"].annotation)
    if prices.ADAPTIVE in allowed:
        return prices.ADAPTIVE
    if shown is None:
        return None
    of_picture = math.log(shown[0] / shown[1])
    return min(allowed, key=lambda ratio: abs(of_picture - math.log(_quotient(ratio))))


def _quotient(ratio: str) -> float:
    width, _, height = ratio.partition(":")
    return int(width) / int(height)
