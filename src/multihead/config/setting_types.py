"""What a value of a setting may be, where its Python type alone does not say it."""

import re
from typing import TYPE_CHECKING, Annotated, Literal

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from multihead.config.backbones import BACKBONES, LEAST_SIZE
from multihead.config.checking import Expected


def _plain_name(name: str) -> str:
    if name in (".", "..") or re.search(r"[/\\*?[]", name):
        raise PydanticCustomError("refused", "a plain name, without folders and wildcards")
    return name


def _requirement_by_name(text: str) -> str:
    try:
        has_address = bool(Requirement(text).url)
    except InvalidRequirement as error:
        raise PydanticCustomError("refused", 'a requirement such as "name==1.0"') from error
    if has_address:
        raise PydanticCustomError("refused", "a requirement by name and version, without an address")
    return text


if TYPE_CHECKING:
    Backbone = str
else:
    Backbone = Literal[BACKBONES]  # which a type checker cannot read
Side = Annotated[int, Field(ge=LEAST_SIZE, le=1024)]
PlainName = Annotated[str, AfterValidator(_plain_name)]
PackageRequirement = Annotated[str, AfterValidator(_requirement_by_name)]
Precision = Literal["auto", "float32", "float16", "bfloat16"]
Xla = Literal["auto", "on", "off"]
TEXTS = Expected("a list of texts", of_type=True)
