"""Tasks, settings, the manifest, the names of files: what is known before an image or a network is.

data_files.py opens a data folder's archives and tables, as the bundler has to. What is imported here stands for the
room below: nothing outside of the package needs more of it than config.
"""

from multihead.runtime.errors import UserError, listed, shortened
from multihead.runtime.events import EVENTS_VARIABLE, FILE_PREDICTED, STAGES
from multihead.runtime.log import STARTED_VARIABLE
from multihead.runtime.processors import cores, visible_gpus, with_threads
from multihead.runtime.text_files import decoded, read_text, read_toml
from multihead.runtime.whole_files import whole_file

__all__ = [
    "EVENTS_VARIABLE",
    "FILE_PREDICTED",
    "STAGES",
    "STARTED_VARIABLE",
    "UserError",
    "cores",
    "decoded",
    "listed",
    "read_text",
    "read_toml",
    "shortened",
    "visible_gpus",
    "whole_file",
    "with_threads",
]
