"""Reads every import and proves that they run downwards, and that nothing heavy wakes early."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tiny import python

import tfft

PACKAGE = Path(tfft.__file__).parent
# From the bottom up; a module may import from the lines above its own, and from its own line.
LAYERS = (
    {"errors", "tasks", "heads", "certificate.tolerances", "serving.signatures"},
    {"config", "results", "metrics"},
    {"reports.charts", "reports.pages", "reports.parity"},
    {"schedules"},
    {"progress", "backend", "pytorch.backend", "folders", "minilm"},
    {"reports.tuning"},
    {
        "tuning.roles",
        "tuning.spaces",
        "tuning.rising",
        "tuning.record",
        "tuning.engine",
        "tuning.telling",
    },
    {"tuning.leaving"},
    {"child"},
    {"doctor.findings"},
    {"doctor.packages"},
    {"doctor.probe"},
    {"doctor.machine"},
    {"doctor.environment"},
    {"doctor"},
    {"export.formats.latency"},
    {"tensors", "pytorch.children", "pytorch.unpickle", "pytorch.outputs"},
    {"transfers", "refusals", "hub"},
    {"unpickling"},
    {"data.cells", "data.spill"},
    {"data.files", "data.columns", "data.labels", "data.sources", "data.plan", "data.tokens"},
    {"data.alignment", "data.label_sets", "data.scores", "data.targets", "data.class_weights"},
    {"certificate.jobs", "certificate.child", "certificate.recipes"},
    {"certificate.recordings"},
    {"data.examples", "data.cache", "data.choice", "data.buffer"},
    {"data.encode"},
    {"pretrained"},
    {
        "export.components",
        "export.characters",
        "export.words",
        "export.fingerprints",
        "export.fuzz",
    },
    {
        *("export.literals", "export.assembly", "export.wordpiece", "export.byte_pairs"),
        *("export.unigram", "export.folding", "export.clusters"),
    },
    {"export.added"},
    {"export.bert_words", "export.byte_words"},
    {"export.sentence_words"},
    {"export.tokenizer"},
    {"export.identity"},
    {"ready", "planning"},
    {"data.padding"},
    {"data.parcels"},
    {"data.split", "data.arrays", "data.buckets", "data.streams", "data.loaders", "data.flow"},
    {"naming", "loading", "embeddings", "distribute", "drops", "precision", "depths"},
    {"optimizers"},
    {"modeling"},
    {"loop", "provenance"},
    {"job"},
    {"pytorch.batches", "pytorch.devices", "pytorch.modeling", "pytorch.optimizers"},
    {"pytorch.native"},
    {"pytorch.trainer"},
    {"steps"},
    {"weights", "training", "predictions"},
    {"bench"},
    {"certificate.tensorflow", "certificate.start", "certificate.compare"},
    {"pytorch.framework", "certificate.certify"},
    {"pytorch.recorder"},
    {"conversion", "keras_fit", "served"},
    {"tuning.oracles", "tuning.tuner"},
    {"tuning.trying"},
    {"tuning.confirming", "tuning.crew"},
    {"tuning.chief"},
    {"tuning.search"},
    {"tuning.worker"},
    {"export.formats.live", "export.formats.rewriting"},
    {
        "export.formats.onnx",
        "export.formats.pytorch",
        "export.formats.quantised",
        "export.formats.tflite",
    },
    {"export.formats.produce"},
    {"export.checker", "export.signatures"},
    {"export.live", "export.bundle", "export.texts"},
    {"export.check", "export.warmup", "export.readme", "export.formats.deliver"},
    {"export.formats.smaller"},
    {"export.assemble"},
    {"serving.bundle", "serving.tensors"},
    {"serving.contract", "serving.batching", "serving.model"},
    {"serving.service"},
    {"serving.page"},
    {"serving.app"},
    {"serving.server"},
    {"runs"},
    {"api"},
    {"cli"},
)
# Importing these must cost no TensorFlow: they answer --help, usage errors and missing files.
LIGHT = (
    "cli",
    "config",
    "errors",
    "results",
    "api",
    "runs",
    "hub",
    "data.sources",
    "data.examples",
    "planning",
    "job",
    "loop",
    "doctor",
    "serving.server",
)


def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }


def imports(path: Path) -> set[str]:
    """Every module that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer(name: str) -> int | None:
    for number, names in enumerate(LAYERS):
        if name in names or name.split(".")[0] == "cli" == next(iter(names)):
            return number
    return None


PACKAGES = {
    *("data", "certificate", "export", "export.formats", "pytorch", "reports", "serving", "tuning")
}
WITHOUT_LAYER = {"__init__", "__main__", "builtin", "cli", *PACKAGES}


@pytest.mark.parametrize("name", sorted(set(modules()) - WITHOUT_LAYER))
def test_imports_run_downwards(name: str) -> None:
    own = layer(name)
    assert own is not None, f"{name} has no place in LAYERS"
    for imported in imports(modules()[name]):
        other = layer(imported.removeprefix("tfft.")) if imported.startswith("tfft.") else None
        assert other is None or other <= own, f"{name} imports {imported}, which is above it"


def test_no_two_modules_import_each_other() -> None:
    graph = {
        name: {each.removeprefix("tfft.") for each in imports(path) if each.startswith("tfft.")}
        & modules().keys()
        for name, path in modules().items()
        if name not in WITHOUT_LAYER
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"a cycle: {' -> '.join([*trail, name])}"
        if name not in done:
            for each in graph.get(name, ()):
                visit(each, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_tensorflow_comes_through_the_backend_alone() -> None:
    for name, path in modules().items():
        direct = {each.split(".")[0] for each in imports(path)} & {"tensorflow", "tf_keras"}
        # The checker is a program of its own, in which tfft can't be imported.
        assert name in ("backend", "export.checker") or not direct, f"{name} imports {direct}"


def test_torch_comes_through_pytorch_s_backend_alone() -> None:
    for name, path in modules().items():
        direct = "torch" in {each.split(".")[0] for each in imports(path)}
        assert name == "pytorch.backend" or not direct, f"{name} imports torch"


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_wake_no_tensorflow(name: str) -> None:
    loaded = python(f"import sys, tfft.{name}; print('tensorflow' in sys.modules)")
    assert loaded.strip() == "False"


def test_importing_tfft_imports_nothing_else() -> None:
    code = "import sys, tfft; print(sorted({'numpy', 'click', 'datasets'} & set(sys.modules)))"
    assert python(code).strip() == "[]"
