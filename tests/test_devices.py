import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest

from multihead.config.settings import RunSettings
from multihead.model.devices import Gpu, prepare_devices
from multihead.runtime.errors import UserError
from tests.conftest import HOUSE

T4 = Gpu("Tesla T4", (7, 5))

# Stands in for Keras: it tells what TensorFlow would find as it is imported
KERAS = """
import os
from types import SimpleNamespace as Names
print("oneDNN:", os.environ.get("TF_ENABLE_ONEDNN_OPTS"))
__version__ = "3"
utils = Names(set_random_seed=lambda seed: None)
config = Names(backend=lambda: "jax", set_dtype_policy=lambda policy: None)
"""
PREPARE = """
import sys
from multihead.model.devices import prepare_devices
from multihead.config.settings import RunSettings
prepare_devices(RunSettings(deterministic=sys.argv[2] == "True"), [sys.argv[1]])
"""


@pytest.mark.parametrize(
    ("backbone", "deterministic", "flag"),
    [("stack", False, "1"), ("resnet10", False, "1"), ("narrow", False, None), ("stack", True, None)],
)
def test_onednn_is_asked_for_before_keras_where_it_makes_a_network_faster(
    backbone: str, deterministic: bool, flag: str | None, tmp_path: Path
) -> None:
    (tmp_path / "keras.py").write_text(KERAS)
    (tmp_path / "jax.py").write_text("devices, default_backend = list, lambda: 'cpu'\n")
    command = [sys.executable, "-c", PREPARE, backbone, str(deterministic)]
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment["PYTHONPATH"] = f"{tmp_path}:{HOUSE / 'src'}"
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert f"oneDNN: {flag}\n" in done.stdout


@pytest.mark.parametrize(
    ("gpus", "named"),
    [
        ([], "no GPU, the CPU; float32, no XLA"),
        ([T4], "Tesla T4; float16, XLA"),
        ([T4] * 2, "Tesla T4, the first of 2 GPUs; the others are not used; float16, XLA"),
    ],
)
def test_what_a_network_runs_on_is_logged(
    gpus: list[Gpu], named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("multihead.model.devices._gpus", lambda _: gpus)
    prepare_devices(RunSettings(), ["narrow"])
    assert capsys.readouterr().out.endswith(f"on tensorflow: {named}\n")


@pytest.mark.parametrize(
    ("gpu", "backbone", "flags", "changes", "precision", "xla"),
    [
        (T4, "efficientnet-b1", set(), {}, "float16", "on"),
        (T4, "efficientnet-b1", set(), {"deterministic": True}, "float16", "off"),
        (T4, "efficientnet-b1", set(), {"precision": "float32", "xla": "off"}, "float32", "off"),
        (Gpu("NVIDIA H100", (9, 0)), "resnet10", {"avx512_bf16"}, {}, "float16", "on"),
        (Gpu("NVIDIA H100", (9, 0)), "resnet10", set(), {"precision": "bfloat16"}, "bfloat16", "on"),
        (Gpu("Tesla P100-PCIE-16GB", (6, 0)), "resnet10", set(), {}, "float32", "on"),
        (Gpu("some other"), "resnet10", set(), {}, "float32", "on"),
        (None, "resnet10", {"avx512_bf16", "sse"}, {}, "bfloat16", "off"),
        (None, "resnet16", {"amx_bf16"}, {}, "bfloat16", "off"),
        (None, "resnet16", {"amx_bf16"}, {"deterministic": True}, "float32", "off"),
        (None, "stack", {"amx_bf16"}, {}, "float32", "off"),
        (None, "resnet10", {"avx2"}, {}, "float32", "off"),
        (None, "efficientnet-b1", {"avx512_bf16"}, {}, "float32", "off"),
        (None, "efficientnet-b1", set(), {"precision": "bfloat16", "xla": "on"}, "bfloat16", "on"),
    ],
)
def test_precision_and_compilation_are_those_of_the_device_where_they_are_not_set(
    gpu: Gpu | None,
    backbone: str,
    flags: set[str],
    changes: dict[str, Any],
    precision: str,
    xla: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("multihead.model.devices._gpus", lambda _: [gpu] if gpu else [])
    monkeypatch.setattr("multihead.model.devices._cpu_flags", lambda: flags)
    monkeypatch.setattr("tensorflow.config.experimental.enable_op_determinism", lambda: None)
    run = prepare_devices(RunSettings(**changes), [backbone])
    assert (run.precision, run.xla) == (precision, xla)
    policy = keras.config.dtype_policy()
    assert (policy.compute_dtype, policy.variable_dtype) == (precision, "float32")


def test_the_slowest_member_of_an_ensemble_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multihead.model.devices._cpu_flags", lambda: {"avx512_bf16"})
    assert prepare_devices(RunSettings(), ["resnet10", "narrow"]).precision == "float32"


def test_without_onednn_a_cpu_computes_in_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multihead.model.devices._cpu_flags", lambda: {"avx512_bf16"})
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert prepare_devices(RunSettings(), ["resnet10"]).precision == "float32"


def test_what_a_backend_cannot_do_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorflow.config.experimental.enable_op_determinism", lambda: None)
    with pytest.raises(UserError, match='deterministic = true and xla = "on" contradict each other'):
        prepare_devices(RunSettings(deterministic=True, xla="on"), [])
    monkeypatch.setattr("keras.config.backend", lambda: "jax")
    monkeypatch.setattr("multihead.model.devices._gpus", lambda _: [])
    with pytest.raises(UserError, match='xla = "off", but JAX compiles by XLA whatever it runs'):
        prepare_devices(RunSettings(xla="off"), [])
    monkeypatch.setattr("keras.config.backend", lambda: "torch")
    with pytest.raises(UserError, match="KERAS_BACKEND=torch: expected one of tensorflow, jax"):
        prepare_devices(RunSettings(), [])
