"""Fine-tune Hugging Face models on TensorFlow.

    import tfft
    result = tfft.fit(data="glue/cola", model="bert-base-cased", output="runs/cola", epochs=3)
    result.validation["matthews_correlation"]

The Keras objects stay in reach:

    train, validation = tfft.load_data("glue/cola", tokenizer="bert-base-cased")
    model = tfft.build_model("bert-base-cased")
    model.fit(train.dataset, validation_data=validation.dataset)

Names load lazily: `import tfft` itself imports nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfft.api import (
        build_model,
        convert,
        evaluate,
        export,
        fit,
        load_data,
        parity,
        plan,
        predict,
        serve,
        tune,
    )
    from tfft.errors import (
        ConfigError,
        DataError,
        ExportError,
        ModelError,
        TfftError,
        TrainingError,
    )

__version__ = "0.1.0.dev0"

__all__ = [
    "ConfigError",
    "DataError",
    "ExportError",
    "ModelError",
    "TfftError",
    "TrainingError",
    "build_model",
    "convert",
    "evaluate",
    "export",
    "fit",
    "load_data",
    "parity",
    "plan",
    "predict",
    "serve",
    "tune",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'tfft' has no attribute '{name}'")
    home = "tfft.errors" if name.endswith("Error") else "tfft.api"
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Python binds a package that it imports to its parent: `tfft.export` is the function all
        # the same, also when something in the package of that name has been imported.
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
