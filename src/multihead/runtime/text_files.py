"""Text files as any editor saves them: settings, tasks."""

import codecs
import re
import tomllib
from pathlib import Path
from typing import Any

from multihead.runtime.errors import UserError


def read_text(path: Path) -> str:
    r"""Return the text of a file, its line ends \n, without a byte order mark.

    The text is UTF-8, or UTF-16 if a mark says so, as that of PowerShell's > does. Raises OSError, or a
    UnicodeDecodeError whose reason names byte and line.
    """
    return decoded(path.read_bytes())


def decoded(data: bytes) -> str:
    """Return the text that read_text reads in a file of these bytes."""
    is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode(error.encoding)
        line = len(re.split(r"\r\n?|\n", before))
        reason = f"byte {error.object[error.start]:#04x} in line {line}"
        raise UnicodeDecodeError(error.encoding, error.object, error.start, error.end, reason) from error
    return re.sub(r"\r\n?", "\n", text) if "\r" in text else text


def read_toml(path: Path) -> dict[str, Any]:
    """Return the keys and values of a TOML file; UserError for a file that cannot be read, or is none."""
    try:
        return tomllib.loads(read_text(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason})") from error
    except ValueError as error:  # its form, or a number of thousands of digits
        raise UserError(f"{path}: not TOML ({error})") from error
