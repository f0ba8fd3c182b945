"""Pretrained files, fetched where there is internet, for a kernel that has none."""

import ast
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from bundler.build.parts import WHEELS_FOLDER
from bundler.errors import BundlerError

# kind of an EfficientNet's: the file's name without its top; where the efficientnet package keeps address and checksums
KINDS = {
    "noisy-student": ("{}_noisy-student_notop.h5", "NS_WEIGHTS_PATH", "NS_WEIGHTS_HASHES"),
    "imagenet": (
        "{}_weights_tf_dim_ordering_tf_kernels_autoaugment_notop.h5",
        "IMAGENET_WEIGHTS_PATH",
        "IMAGENET_WEIGHTS_HASHES",
    ),
}
# The other networks' ImageNet weights without their top, as keras.applications names, keeps and verifies them: by MD5,
# which finds a damaged download, and not one that was forged. It publishes no checksums of mobilenet and mobilenetv2.
KERAS_FOLDER = "https://storage.googleapis.com/tensorflow/keras-applications/"
_TENSORFLOW = "_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_FILES = {
    "vgg16": (f"vgg16/vgg16{_TENSORFLOW}", "6d6bbae143d832006294945121d1f1fc"),
    "vgg19": (f"vgg19/vgg19{_TENSORFLOW}", "253f8cb515780f3b799900260a226db6"),
    "resnet50": (f"resnet/resnet50{_TENSORFLOW}", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet101": (f"resnet/resnet101{_TENSORFLOW}", "88cf7a10940856eca736dc7b7e228a21"),
    "resnet152": (f"resnet/resnet152{_TENSORFLOW}", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    "resnet50v2": (f"resnet/resnet50v2{_TENSORFLOW}", "fac2f116257151a9d068a22e544a4917"),
    "resnet101v2": (f"resnet/resnet101v2{_TENSORFLOW}", "c0ed64b8031c3730f411d2eb4eea35b5"),
    "resnet152v2": (f"resnet/resnet152v2{_TENSORFLOW}", "ed17cf2e0169df9d443503ef94b23b33"),
    "inceptionv3": (f"inception_v3/inception_v3{_TENSORFLOW}", "bcbd6486424b2319ff4ef7d526e38f63"),
    "inceptionresnetv2": (f"inception_resnet_v2/inception_resnet_v2{_TENSORFLOW}", "d19885ff4a710c122648d3b5c3b684e4"),
    "xception": (f"xception/xception{_TENSORFLOW}", "b0042744bf5b25fce3cb969f33bebb97"),
    "mobilenetv3-small": (
        "mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        "d3e8ec802a04aa4fc771ee12a9a9b836",
    ),
    "mobilenetv3-large": (
        "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "07fb09a5933dd0c8eaafa16978110389",
    ),
    "densenet121": (f"densenet/densenet121{_TENSORFLOW}", "30ee3e1110167f948a6b9946edeeb738"),
    "densenet169": (f"densenet/densenet169{_TENSORFLOW}", "b8c4d4c20dd625c148057b9ff1c1176b"),
    "densenet201": (f"densenet/densenet201{_TENSORFLOW}", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    "nasnet-mobile": ("nasnet/NASNet-mobile-no-top.h5", "1ed92395b5b598bdda52abe5c0dbfd63"),
    "nasnet-large": ("nasnet/NASNet-large-no-top.h5", "d81d89dc07e6e56530c4e77faddd61b5"),
    "efficientnetv2-b0": ("efficientnet_v2/efficientnetv2-b0_notop.h5", "893217f2bb855e2983157299931e43ff"),
    "efficientnetv2-b1": ("efficientnet_v2/efficientnetv2-b1_notop.h5", "0e80663031ca32d657f9caa404b6ec37"),
    "efficientnetv2-b2": ("efficientnet_v2/efficientnetv2-b2_notop.h5", "1dfe2e7a5d45b6632553a8961ea609eb"),
    "efficientnetv2-b3": ("efficientnet_v2/efficientnetv2-b3_notop.h5", "f6abf7b5849ac99a89b50dd3fd532856"),
    "efficientnetv2-s": ("efficientnet_v2/efficientnetv2-s_notop.h5", "af0682fb74e8c54910f2d4393339c070"),
    "efficientnetv2-m": ("efficientnet_v2/efficientnetv2-m_notop.h5", "1b8dc055df72dde80d614482840fe342"),
    "efficientnetv2-l": ("efficientnet_v2/efficientnetv2-l_notop.h5", "b0b66b5c863aef5b46e8608fe1711615"),
    "convnext-tiny": (
        "convnext/convnext_tiny_notop.h5",
        "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    ),
    "convnext-small": (
        "convnext/convnext_small_notop.h5",
        "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
    ),
    "convnext-base": (
        "convnext/convnext_base_notop.h5",
        "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
    ),
    "convnext-large": (
        "convnext/convnext_large_notop.h5",
        "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
    ),
    "convnext-xlarge": (
        "convnext/convnext_xlarge_notop.h5",
        "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
    ),
}
PATIENCE_SECONDS = 60


class Pretrained(NamedTuple):
    """One published file: its name, its address, and its SHA-256 or MD5, whichever is published."""

    name: str
    address: str
    checksum: str


def published(kind: str, backbone: str) -> Pretrained:
    """Return a backbone's pretrained weights: "b0" to "b7" as the efficientnet wheel knows them, or a KERAS_FILES'.

    Raises BundlerError for a backbone that has none of the kind.
    """
    if kind == "imagenet" and backbone in KERAS_FILES:
        path, checksum = KERAS_FILES[backbone]
        return Pretrained(path.split("/")[-1], KERAS_FOLDER + path, checksum)
    name, path_key, hashes_key = KINDS[kind]
    with zipfile.ZipFile(next(WHEELS_FOLDER.glob("efficientnet-*.whl"))) as archive:
        tree = ast.parse(archive.read("efficientnet/weights.py"))
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    network, checksums = f"efficientnet-{backbone.removeprefix('efficientnet-')}", values[hashes_key]
    if network not in checksums:
        known = [*sorted(checksums), *(KERAS_FILES if kind == "imagenet" else ())]
        raise BundlerError(f"{kind} {backbone}: no such weights; one of {', '.join(known)}")
    file = name.format(network)
    return Pretrained(file, values[path_key] + file, checksums[network][1])


def fetch(file: Pretrained, folder: Path) -> Path:
    """Download a file into the folder, unless it is there already, and return its path.

    Raises BundlerError, with the folder left as it was, where it cannot be had or is not the one published.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    algorithm = {64: "sha256", 32: "md5"}[len(file.checksum)]
    path, new = folder / file.name, folder / f".new-{file.name}"
    if path.is_file() and pooch.file_hash(str(path), algorithm) == file.checksum:
        return path
    try:
        with tempfile.TemporaryDirectory() as scratch:
            downloader = pooch.HTTPDownloader(timeout=PATIENCE_SECONDS)
            fetched = pooch.retrieve(
                file.address, f"{algorithm}:{file.checksum}", "file", scratch, downloader=downloader
            )
            shutil.copyfile(fetched, new)
        new.replace(path)
    except OSError as error:  # those of requests are, too
        raise BundlerError(f"{file.address}: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise BundlerError(f"{file.address}: not the file that was published, its {algorithm} is another") from error
    finally:
        new.unlink(missing_ok=True)
    return path
