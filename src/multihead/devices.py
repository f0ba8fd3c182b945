"""What the network runs on. The one module that talks to a backend rather than to Keras."""

import os

from multihead.errors import UserError
from multihead.progress import say
from multihead.settings import RunSettings


def prepare_devices(run: RunSettings) -> None:
    """Seed Keras, choose precision and determinism, and say what the network will run on.

    Raises UserError where the settings require a GPU and none is visible. Weights and losses stay
    float32 under mixed precision.
    """
    say("loading Keras")
    # TensorFlow's chatter would hide our lines; where a GPU must be there, its errors say why it is not
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if run.require_gpu else "3")
    import keras

    keras.utils.set_random_seed(run.seed)
    backend = keras.config.backend()
    gpus = _tensorflow_gpus(run) if backend == "tensorflow" else _jax_gpus()
    if run.require_gpu and not gpus:
        raise UserError(
            "require_gpu = true, but no GPU is visible; "
            "turn the accelerator on (enable_gpu in kernel-metadata.json) or set require_gpu = false"
        )
    keras.config.set_dtype_policy("mixed_float16" if run.mixed_precision else "float32")
    say(f"Keras {keras.__version__} on {backend}: {', '.join(gpus) if gpus else 'no GPU, the CPU'}")


def _tensorflow_gpus(run: RunSettings) -> list[str]:
    import tensorflow as tf

    if run.deterministic:
        tf.config.experimental.enable_op_determinism()
    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]


def _jax_gpus() -> list[str]:
    import jax

    return [device.device_kind for device in jax.devices() if device.platform == "gpu"]
