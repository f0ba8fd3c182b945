"""Text files as any editor saves them: metadata, listings."""

import codecs
from pathlib import Path

from bundler.errors import BundlerError
from multihead.config import read_text


def text_of(path: Path) -> str:
    """Return what read_text does; BundlerError for a file that cannot be read, or is of another encoding."""
    try:
        return read_text(path)
    except OSError as error:
        raise BundlerError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BundlerError(f"{path}: not UTF-8 ({error.reason})") from error


def has_byte_order_mark(path: Path) -> bool:
    """Tell whether a text file begins with a mark, which the kaggle client does not read."""
    return path.read_bytes().startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
