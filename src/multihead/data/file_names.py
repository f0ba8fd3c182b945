"""Names of files: which are images, and which the system left there."""

IMAGE_SUFFIXES = {  # of what OpenCV or Pillow decodes
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".bmp", ".gif", ".webp"),
    *(".avif", ".tif", ".tiff", ".pgm", ".ppm"),
}
_LEFT_BY_SYSTEMS = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir"}


def is_left_by_system(name: str) -> bool:
    """Tell whether a file's or folder's name is that of something no person put there.

    Names that begin with a dot, macOS's, Jupyter's and git's among them, and the caches of macOS's zips and Windows.
    """
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def without_suffix(name: str) -> str:
    """Return a name or path without an image's suffix, if it has one."""
    bare, point, suffix = name.rpartition(".")
    return bare if point + suffix.lower() in IMAGE_SUFFIXES else name
