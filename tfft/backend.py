"""The one door to TensorFlow, Keras 2 and transformers' TF classes.

    from tfft.backend import keras, tf          # imports TensorFlow, prepared
    from tfft.backend import transformers       # without it, and without torch
    from tfft.backend import keras_tuner        # one that takes Keras 2's models
    backend.choose("pytorch")                   # before that: with torch, and without TensorFlow

Importing this module imports none of them: each loads when its name is first asked for. What has to
stand in the environment before an import is set here, so nothing else may import them directly.
torch comes through `tfft.pytorch.backend`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tfft.errors import TfftError, first_line

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf
    import tf_keras as keras
    import transformers
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import convert_to_constants

__all__ = [
    "convert_to_constants",
    "keras",
    "keras_tuner",
    "saved_model_pb2",
    "tf",
    "transformers",
]

_MODULES = {
    "tf": "tensorflow",
    "keras": "tf_keras",
    "keras_tuner": "keras_tuner",
    "transformers": "transformers",
    # How a SavedModel lies on disk; tf.* has no name for it.
    "saved_model_pb2": "tensorflow.core.protobuf.saved_model_pb2",
    # Freezes a graph: what TensorFlow's own converters do it with, and has no public name for.
    "convert_to_constants": "tensorflow.python.framework.convert_to_constants",
}
# What brings a module that isn't needed by all.
_EXTRAS = {"keras_tuner": "tune"}
# transformers imports torch where it is installed (5 s); USE_TORCH=1 hides its TF classes. It reads
# them once, when it is imported: a process has the classes of one framework.
_SWITCHES = {
    "tensorflow": {"USE_TORCH": "0", "USE_TF": "1"},
    "pytorch": {"USE_TORCH": "1", "USE_TF": "0"},
}
_chosen = "tensorflow"
_takes_onednn = True


def chosen() -> str:
    """The framework whose classes transformers has, or will have: `tensorflow` or `pytorch`."""
    return _chosen


def can_choose(framework: str) -> bool:
    """Whether transformers isn't imported yet, or has that framework's classes."""
    if (utils := sys.modules.get("transformers.utils")) is None:
        return True
    ask = {"tensorflow": utils.is_tf_available, "pytorch": utils.is_torch_available}[framework]
    return bool(ask())


def choose(framework: str) -> None:
    """Has transformers take the classes of `framework` in this process.

    Raises:
        TfftError: it was imported already, for the other one.
    """
    global _chosen
    if not can_choose(framework):
        raise TfftError(
            f"this process has opened transformers without {framework}'s classes, and it takes "
            "those of one framework; start a process of its own"
        )
    _chosen = framework


def leave_onednn() -> None:
    """Has TensorFlow use oneDNN where it does so by itself; before its import.

    Calls of one text to a few, each of another length, are slower with it: 16 clients of a MiniLM
    got 225 answers a second with it and 412 without, and without batching 72 and 165 (two AVX2
    cores, where TensorFlow leaves it off).
    """
    global _takes_onednn
    _takes_onednn = False


def check_installed(name: str) -> None:
    """Raises:
    TfftError: a module that isn't needed by all isn't there; says what brings it.
    """
    if find_spec(name) is None:
        raise TfftError(f'{name} isn\'t installed; try pip install "tfft[{_EXTRAS[name]}]"')


def _prepare_environment() -> None:
    os.environ.update(_SWITCHES[_chosen])
    # Its TF classes need Keras 2. Without tf-keras the variable makes TensorFlow's import fail.
    if find_spec("tf_keras") is not None:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
    # Its matrix products and, as much, its buffers, which are kept where malloc gives them back: a
    # step of MiniLM took 167 ms with them and 242 without, on two AVX2 cores (16 texts of CoLA).
    # TensorFlow takes them by itself on processors that have instructions for neural networks.
    if _takes_onednn:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # TensorFlow's C++ side logs to standard error, where only our own lines belong.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # The tokenizers' threads are safe here: nothing forks after they start.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'tfft.backend' has no attribute '{name}'")
    _prepare_environment()
    try:
        module = _import(name)
    except ImportError as error:
        raise TfftError(
            f"{_MODULES[name]} can't be imported ({first_line(error)}); tfft doctor says what is "
            "missing, and the line that installs it"
        ) from error
    globals()[name] = module
    return module


def _import(name: str) -> Any:
    if name == "tf":
        with silent_stderr():
            module = import_module("tensorflow")
            for gpu in module.config.list_physical_devices("GPU"):  # the first look says it again
                # Else TensorFlow takes all of a GPU's memory at once, a neighbour's too.
                module.config.experimental.set_memory_growth(gpu, True)
        module.get_logger().setLevel("ERROR")
    elif name == "keras_tuner":
        check_installed(name)
        with _keras_2_as_keras():
            module = import_module(name)
    else:
        if name in ("keras", "saved_model_pb2", "convert_to_constants"):
            __getattr__("tf")
        module = import_module(_MODULES[name])
    return module


@contextmanager
def _keras_2_as_keras() -> Iterator[None]:
    """`import keras` gives Keras 2.

    Keras Tuner 1.4.8 takes models of that module alone, and a TFAutoModel is one of tf_keras.
    """
    if "keras_tuner" in sys.modules:
        raise ImportError("it was imported before; take it from tfft.backend instead")
    kept = sys.modules.get("keras")
    sys.modules["keras"] = __getattr__("keras")
    try:
        yield
    finally:
        del sys.modules["keras"]
        if kept is not None:
            sys.modules["keras"] = kept


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Nothing reaches file descriptor 2.

    TensorFlow 2.21 tells that it found no CUDA before its own log level counts, and no Python
    stream stands between it and the terminal.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
