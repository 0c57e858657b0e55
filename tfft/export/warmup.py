"""Requests that TensorFlow Serving answers to itself before it takes others'.

    write_warmup(folder, requests)      # folder/assets.extra/tf_serving_warmup_requests

A graph's first call costs many times a later one. The records are TensorFlow Serving's own, by
`tensorflow-serving-api` (https://www.tensorflow.org/tfx/serving/saved_model_warmup).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tfft.backend import tf
from tfft.errors import ExportError
from tfft.export.live import Live
from tfft.export.signatures import TEXT_SIGNATURE, TOKEN_SIGNATURES

EXTRAS = "assets.extra"
FILE = "tf_serving_warmup_requests"
BATCH_SIZES = (1, 8)


def check_installed() -> None:
    """Looks whether TensorFlow Serving's records are there, without importing them.

    Raises:
        ExportError: they aren't.
    """
    if find_spec("tensorflow_serving") is None:
        raise ExportError(
            "tensorflow-serving-api isn't installed, which the requests that warm a server up are "
            'made by; it comes with pip install "tfft[export]"'
        )


def requests(live: Live, signatures: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A signature's name and its inputs: of each the shortest text, a middle one and the longest.

    A batch of one, and one of several.
    """
    lengths = [len(each) for each in live.tokens["input_ids"]]
    by_length = sorted(range(len(lengths)), key=lengths.__getitem__)
    chosen = dict.fromkeys(by_length[place] for place in (0, len(by_length) // 2, -1))
    for name in signatures:
        for row in chosen:
            for size in BATCH_SIZES:
                yield name, _inputs(live, name, [row] * size)


def _inputs(live: Live, name: str, rows: list[int]) -> dict[str, Any]:
    if name == TEXT_SIGNATURE:
        return {key: tf.constant([texts[row] for row in rows]) for key, texts in live.texts.items()}
    return {
        feature: tf.constant([list(ids[row]) for row in rows], TOKEN_SIGNATURES[name])
        for feature, ids in live.tokens.items()
    }


def write_warmup(
    folder: Path, asked: Iterable[tuple[str, Mapping[str, Any]]], *, model_name: str
) -> int:
    """Writes the requests into the SavedModel's folder; how many they are."""
    from tensorflow_serving.apis.predict_pb2 import PredictRequest
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog, PredictLog

    path = folder / EXTRAS / FILE
    path.parent.mkdir(exist_ok=True)
    n_requests = 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in asked:
            request = PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            for key, each in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(each))
            log = PredictionLog(predict_log=PredictLog(request=request))
            writer.write(log.SerializeToString())
            n_requests += 1
    return n_requests
