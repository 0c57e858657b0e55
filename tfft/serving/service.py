"""A model under its name, as the routes ask for it: what is served, within which limits.

service = Service(bundle, model, config, batcher)
await service.predict(b'{"instances": ["a film"]}')      # b'{"predictions":[...]}'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfft.config import ServeConfig
from tfft.errors import RequestError
from tfft.serving import contract
from tfft.serving.batching import Batcher
from tfft.serving.bundle import Bundle
from tfft.serving.signatures import DEFAULT, Signature

if TYPE_CHECKING:
    from tfft.serving.model import Model

MIB = 2**20


@dataclass(frozen=True)
class Service:
    bundle: Bundle
    model: Model
    config: ServeConfig
    batcher: Batcher

    @property
    def name(self) -> str:
        return self.config.name or self.bundle.name

    @property
    def max_body_bytes(self) -> int:
        return int(self.config.max_body_mib * MIB)

    @property
    def text_signature(self) -> Signature | None:
        """The one that the page asks; None where the bundle takes tokens alone."""
        signature = self.model.signatures[DEFAULT]
        return signature if signature.takes_text else None

    async def predict(self, body: bytes) -> bytes:
        """A request's body -> its answer's.

        Raises:
            RequestError: what is wrong with the request.
        """
        call = contract.read_call(body, self.model.signatures, max_rows=self.config.max_rows)
        outputs = await self.batcher.submit(call.signature.name, call.arrays, call.n_rows)
        return contract.write_answer(call, outputs)

    async def predict_texts(self, texts: Mapping[str, str]) -> dict[str, np.ndarray]:
        """The outputs for one example, as its inputs are called; each without the axis of rows."""
        arrays = {name: np.array([text.encode()], object) for name, text in texts.items()}
        outputs = await self.batcher.submit(DEFAULT, arrays, 1)
        return {name: array[0] for name, array in outputs.items()}

    def status(self) -> bytes:
        return contract.write_status(self.bundle.version)

    def metadata(self) -> bytes:
        return contract.write_metadata(self.name, self.bundle.version, self.model.signature_defs)

    def check(self, name: str, version: str | None, *, to_predict: bool) -> None:
        """Refuses what isn't served.

        Raises:
            RequestError: another name or version; 404.
        """
        if name == self.name and (version is None or int(version) == self.bundle.version):
            return
        asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        what = "Servable not found for request" if to_predict else "no such model or version"
        raise RequestError(
            f"{what}: {asked}; {self.name}, version {self.bundle.version}, is served", status=404
        )
