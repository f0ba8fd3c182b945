"""What the network runs on. The one module that talks to a backend rather than to Keras."""

import os

from multihead.config.backbones import EFFICIENTNETS
from multihead.config.settings import RunSettings
from multihead.runtime.errors import UserError
from multihead.runtime.log import log


def prepare_devices(run: RunSettings, backbone: str = "") -> None:
    """Seed Keras, choose precision and determinism, and say what the network will run on.

    backbone: the one to be trained. On a CPU all but EfficientNets are meant to be faster with oneDNN, which TensorFlow
    uses by itself only on newer ones of Intel; benchmarks/onednn.py measures it.
    Raises UserError where the settings require a GPU and none is visible. Weights and losses stay float32 under mixed
    precision.
    """
    log.info("loading Keras")
    # TensorFlow's chatter would hide our lines; where a GPU must be there, its errors say why it is not
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if run.require_gpu else "3")
    if backbone and backbone not in EFFICIENTNETS and not run.deterministic:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    import keras

    keras.utils.set_random_seed(run.seed)
    backend = keras.config.backend()
    if run.deterministic and backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    gpus = _gpus(backend)
    if run.require_gpu and not gpus:
        raise UserError(
            "require_gpu = true, but no GPU is visible; "
            "turn the accelerator on (enable_gpu in kernel-metadata.json) or set require_gpu = false"
        )
    keras.config.set_dtype_policy("mixed_float16" if run.mixed_precision else "float32")
    idle = f", the first of {len(gpus)} GPUs; the others are not used" if len(gpus) > 1 else ""
    log.info(f"Keras {keras.__version__} on {backend}: {gpus[0] + idle if gpus else 'no GPU, the CPU'}")


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether a backend says by an exception that the device has no memory for what it was to compute.

    TensorFlow raises ResourceExhaustedError, JAX an error of XLA with that status in its text, cuDNN words of its own.
    """
    words = ("resource_exhausted", "out of memory", "oom when allocating", "alloc_failed", "failed to allocate")
    kinds = (type(error).__name__ == "ResourceExhaustedError", isinstance(error, MemoryError))
    return any(kinds) or any(word in str(error).lower() for word in words)


def device_name() -> str:
    """Return the name of the device that the network runs on, the first GPU or "CPU"."""
    import keras

    return next(iter(_gpus(keras.config.backend())), "CPU")


def _gpus(backend: str) -> list[str]:
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        return [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    import jax

    return [device.device_kind for device in jax.devices() if device.platform == "gpu"]
