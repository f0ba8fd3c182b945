"""What the network runs on. The one module that talks to a backend rather than to Keras."""

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from multihead.config.backbones import EFFICIENTNETS, RESNETS
from multihead.config.setting_types import Precision, Xla
from multihead.config.settings import RunSettings
from multihead.runtime.errors import UserError
from multihead.runtime.log import log

BACKENDS = ("tensorflow", "jax")
DETERMINISTIC_FLAG = "--xla_gpu_deterministic_ops=true"
TENSOR_CORES_SINCE = (7, 0)  # the compute capability of a GPU from which float16 is what it computes fastest
CPU_FLAGS = {"avx512_bf16", "amx_bf16"}  # of a CPU that multiplies bfloat16 in hardware, as Linux tells them


class Gpu(NamedTuple):
    """A visible GPU, by the name of its kind; capability: its compute capability, (0, 0) where it is not known."""

    name: str
    capability: tuple[int, ...] = (0, 0)


def prepare_devices(run: RunSettings, backbones: Collection[str]) -> RunSettings:
    """Seed Keras, choose precision, compilation and determinism, and say what the network will run on.

    backbones: those to be trained or to predict with. On a CPU all but EfficientNets are faster with oneDNN, which
    TensorFlow uses by itself only on newer ones of Intel; benchmarks/onednn.py measures it.
    Returns the settings with what "auto" stands for here. Raises UserError where they require a GPU and none is
    visible, or what the backend cannot do. Weights, losses and batch statistics are float32 in every precision.
    """
    log.info("loading Keras")
    # TensorFlow's chatter would hide our lines; where a GPU must be there, its errors say why it is not
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if run.require_gpu else "3")
    if not run.deterministic and not any(backbone in EFFICIENTNETS for backbone in backbones):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if run.deterministic and DETERMINISTIC_FLAG not in (flags := os.environ.get("XLA_FLAGS", "")):
        os.environ["XLA_FLAGS"] = f"{flags} {DETERMINISTIC_FLAG}".strip()  # read where JAX first looks for a device
    import keras

    backend = keras.config.backend()
    if backend not in BACKENDS:
        raise UserError(f"KERAS_BACKEND={backend}: expected one of {', '.join(BACKENDS)}")
    keras.utils.set_random_seed(run.seed)
    if run.deterministic and backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    gpus = _gpus(backend)
    if run.require_gpu and not gpus:
        raise UserError(
            "require_gpu = true, but no GPU is visible; "
            "turn the accelerator on (enable_gpu in kernel-metadata.json) or set require_gpu = false"
        )
    precision = run.precision
    if precision == "auto":
        uses_onednn = backend == "tensorflow" and os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1"
        gains = uses_onednn and not run.deterministic and all(backbone in RESNETS for backbone in backbones)
        precision = _fastest_precision(gpus, gains_on_cpu=gains)
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    xla = _xla(run, backend, has_gpu=bool(gpus))
    idle = f", the first of {len(gpus)} GPUs; the others are not used" if len(gpus) > 1 else ""
    device = gpus[0].name + idle if gpus else "no GPU, the CPU"
    log.info(f"Keras {keras.__version__} on {backend}: {device}; {precision}, {'XLA' if xla == 'on' else 'no XLA'}")
    return replace(run, precision=precision, xla=xla)


def _fastest_precision(gpus: list[Gpu], *, gains_on_cpu: bool) -> Precision:
    """Return the precision that the first GPU, or else the CPU, computes fastest.

    gains_on_cpu: whether bfloat16 was measured to be faster for these backbones; at the same score, for resnet10.
    """
    if gpus:
        return "float16" if gpus[0].capability >= TENSOR_CORES_SINCE else "float32"
    return "bfloat16" if gains_on_cpu and CPU_FLAGS & _cpu_flags() else "float32"


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _xla(run: RunSettings, backend: str, *, has_gpu: bool) -> Xla:
    """Return "on" or "off"; UserError for what is not possible.

    On a CPU oneDNN is faster than XLA (benchmarks/onednn.py). On a GPU it is as Keras has it by itself.
    """
    if backend == "jax":
        if run.xla == "off":
            raise UserError('xla = "off", but JAX compiles by XLA whatever it runs; expected "auto" or "on"')
        return "on"
    if run.xla == "on" and run.deterministic:
        raise UserError(
            'deterministic = true and xla = "on" contradict each other: not all that XLA makes is repeatable'
        )
    if run.xla != "auto":
        return run.xla
    return "on" if has_gpu and not run.deterministic else "off"


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of tensors, and of lists of them, as one that the backend computes at once, on the device."""
    import keras

    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, reduce_retracing=True)  # type: ignore[no-any-return]
    import jax

    return jax.jit(function)  # type: ignore[no-any-return]


def fused_batch_norm(inputs: Any, scale: Any, offset: Any, epsilon: float, *moving: Any) -> tuple[Any, Any, Any]:
    """Normalize float (n, height, width, c) by moving mean and variance, or by those of each channel, by TensorFlow.

    Returns what became of it, in its own precision, the mean, and the variance of a sample: both float32 (c,).
    """
    import tensorflow as tf

    return tf.compat.v1.nn.fused_batch_norm(  # type: ignore[no-any-return]
        inputs, scale, offset, *moving, epsilon=epsilon, is_training=not moving
    )


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

    return next((gpu.name for gpu in _gpus(keras.config.backend())), "CPU")


def _gpus(backend: str) -> list[Gpu]:
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        details = [(gpu, tf.config.experimental.get_device_details(gpu)) for gpu in gpus]
        return [Gpu(of.get("device_name", gpu.name), of.get("compute_capability", (0, 0))) for gpu, of in details]
    import jax

    if jax.default_backend() not in ("cpu", "gpu"):
        raise UserError(f"JAX runs on {jax.default_backend()}; expected a GPU or the CPU (JAX_PLATFORMS=cpu)")
    gpus = [device for device in jax.devices() if device.platform == "gpu"]
    return [Gpu(gpu.device_kind, _capability(getattr(gpu, "compute_capability", ""))) for gpu in gpus]


def _capability(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())
