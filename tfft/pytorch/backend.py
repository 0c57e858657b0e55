"""The one door to torch, and to transformers' PyTorch classes.

    from tfft.pytorch.backend import torch, transformers

Importing this module imports neither: each loads when its name is first asked for, and from then on
the process has transformers with its PyTorch classes alone.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tfft import backend
from tfft.errors import TfftError, first_line

if TYPE_CHECKING:
    import torch
    import transformers

__all__ = ["torch", "transformers"]


def check_installed() -> None:
    """Looks whether torch is there, without importing it.

    Raises:
        TfftError: it isn't.
    """
    if find_spec("torch") is None:
        raise TfftError('torch isn\'t installed; PyTorch comes with pip install "tfft[torch]"')


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tfft.pytorch.backend' has no attribute '{name}'")
    check_installed()
    backend.choose("pytorch")
    if name == "transformers":
        return backend.transformers
    try:
        module = import_module("torch")
    except ImportError as error:
        raise TfftError(
            f'torch can\'t be imported ({first_line(error)}); try pip install "tfft[torch]"'
        ) from error
    globals()[name] = module
    return module
