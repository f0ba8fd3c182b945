"""Templates of HTML, and images as what an <img> can hold. Jinja2 is imported by what renders only."""

import base64
from pathlib import Path
from typing import Any

import cv2

from multihead.data.thumbnails import Image, in_colour

FOLDER = Path(__file__).parent
LOSSLESS, PHOTOGRAPH = 101, 90  # WebP's quality


def render(template: str, **content: Any) -> str:
    """Return a template of this folder as HTML, its texts escaped, in the style of style.css."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=style, **content)


def picture(image: Image) -> str:
    """Return uint8 (h, w, 1) in gray or (h, w, 3) in red, green, blue as the address of an image that is in it."""
    quality = LOSSLESS if image.shape[2] == 1 else PHOTOGRAPH
    _, webp = cv2.imencode(".webp", in_colour(image)[:, :, ::-1], (cv2.IMWRITE_WEBP_QUALITY, quality))
    return f"data:image/webp;base64,{base64.b64encode(webp.tobytes()).decode('ascii')}"
