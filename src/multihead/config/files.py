"""What files are called, and which names are those of no data."""

SETTINGS_FILE, TASK_FILE = "settings.toml", "task.toml"  # the second beside the first
WEIGHTS_FILE, MANIFEST_FILE = "model.weights.h5", "manifest.json"
HISTORY_FILE, CHECKPOINT_FILE = "history.csv", "checkpoint.npz"
REPORT_FOLDER, RECORD_FILE, PAGE_FILE = "report", "record.npz", "index.html"  # the files in the folder
SUBMISSION_FILE, PREDICTIONS_FILE = "submission.csv", "predictions.csv"  # the second without a sample to answer
TRUTH_FILE = "truth.csv"

IMAGE_SUFFIXES = {  # of what OpenCV or Pillow decodes
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".bmp", ".gif", ".webp"),
    *(".avif", ".tif", ".tiff", ".pgm", ".ppm"),
}
_LEFT_BY_SYSTEMS = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir"}


def named(file: str, name: str) -> str:
    """Return how weights or their manifest are called where they have a name, as those of an ensemble do."""
    return f"{name}.{file}" if name else file


def is_left_by_system(name: str) -> bool:
    """Tell whether a file's or folder's name is that of something no person put there.

    Names that begin with a dot, macOS's, Jupyter's and git's among them, and the caches of macOS's zips and Windows.
    """
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def without_suffix(name: str) -> str:
    """Return a name or path without an image's suffix, if it has one."""
    bare, point, suffix = name.rpartition(".")
    return bare if point + suffix.lower() in IMAGE_SUFFIXES else name
