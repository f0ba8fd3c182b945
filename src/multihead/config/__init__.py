"""Tasks, settings, the manifest and the names of files: all that is known before an image or a network is.

What is imported here stands for the rooms below: nothing outside of the package needs more of it than config.
"""

from multihead.runtime.errors import UserError, listed, shortened
from multihead.runtime.events import EVENTS_VARIABLE
from multihead.runtime.text_files import decoded, read_text, read_toml

__all__ = ["EVENTS_VARIABLE", "UserError", "decoded", "listed", "read_text", "read_toml", "shortened"]
