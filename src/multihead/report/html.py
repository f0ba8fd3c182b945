"""Templates of HTML, and images as what an <img> can hold."""

import base64
import json
from pathlib import Path
from typing import Any

import cv2

from multihead.data.thumbnails import Image, in_colour
from multihead.runtime.errors import UserError

FOLDER = Path(__file__).parent
LOSSLESS, PHOTOGRAPH = 101, 90  # WebP's quality


def templates(*folders: Path) -> Any:
    """Return Jinja2's environment of folders, or else of this one, which escapes texts.

    Raises UserError where Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise UserError(f"jinja2 is needed to draw: {error}") from error
    environment = Environment(
        loader=FileSystemLoader([*folders, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment


def render(template: str, *folders: Path, **content: Any) -> str:
    """Return a template of this folder as HTML, in the style of style.css; LookupError where it asks for more.

    folders: where it is looked for before.
    """
    environment = templates(*folders)
    from jinja2 import UndefinedError

    try:
        style = (FOLDER / "style.css").read_text(encoding="utf-8")
        return str(environment.get_template(template).render(style=style, **content))
    except UndefinedError as error:
        raise LookupError(str(error)) from error


def picture(image: Image) -> str:
    """Return uint8 (h, w, 1) in gray or (h, w, 3) in red, green, blue as the address of an image that is in it."""
    quality = LOSSLESS if image.shape[2] == 1 else PHOTOGRAPH
    _, webp = cv2.imencode(".webp", in_colour(image)[:, :, ::-1], (cv2.IMWRITE_WEBP_QUALITY, quality))
    return f"data:image/webp;base64,{base64.b64encode(webp.tobytes()).decode('ascii')}"
