"""The shape of the house, read from the syntax tree: imports point down, vendor words stay in place."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "qbench").rglob("*.py"))

WORDS = {
    "__version__", "errors", "units", "registry", "cases", "records", "metrics", "codec", "wire", "suite", "suite_file", "sweep", "toml_file", "hardware", "machine",  # noqa: E501
    "profile", "folders", "store", "stats", "reasons",
}  # fmt: skip
NUMERICS = WORDS | {"formats", "quant", "quality"}
PLUGINS = {"strategies", "models", "tasks", "data", "backends", "meters"}
EVERYTHING = (
    NUMERICS | PLUGINS | {"referee", "measure", "run", "report", "gate", "show", "progress", "doctor", "cli"}
)
MAY_IMPORT = {
    **{word: WORDS for word in WORDS},  # each other, without a circle: see the test below
    "__init__": set(),
    "quant": WORDS,
    "formats": WORDS | {"quant"},
    "quality": WORDS,  # numbers beside numbers: knows no model, engine or file
    "referee": NUMERICS,  # reads files by voices of its own: no backend, which it judges
    "measure": WORDS,  # takes callables: knows no model and no engine
    "data": WORDS,
    "backends": NUMERICS,
    "meters": WORDS,
    "strategies": NUMERICS,
    "tasks": NUMERICS | {"data"},
    "models": NUMERICS | {"data"},
    "report": WORDS | {"quality"},  # works on records alone, wherever they were measured
    "gate": WORDS | {"report"},
    "run": NUMERICS | PLUGINS | {"measure", "referee"},
    "show": EVERYTHING - {"cli", "gate", "report"},
    "progress": WORDS | {"run", "show"},
    "doctor": EVERYTHING - {"cli", "gate", "report"},
    "cli": EVERYTHING,
    "__main__": {"cli"},
}
# What lies in a plug-in folder and is no plug-in, and may be imported by its neighbours.
SHARED = {
    "tasks/unrolled.py": "it runs the float source for the task whose examples have a state",
    "models/resnet.py": "the architecture that the zoo's entries and their training share",
    "models/file.py": "the user's own file is a model without a name: it is chosen by its suffix",
}

VENDOR = (
    "cuda",
    "nvidia",
    "tensorrt",
    "openvino",
    "nncf",
    "onnxruntime",
    "litert",
    "tflite",
    "openblas",
    "amx",
    "rapl",
)
# Outside backends/ and strategies/: which vendor words a file may hold, and why.
EXCEPTIONS = {
    "cli/options.py": ({"cuda"}, "the help text shows how --hw is written"),
    "doctor.py": ({"onnxruntime"}, "two distributions of one engine share a folder and break each other"),
    "run/host.py": (
        {"onnxruntime", "openvino", "nncf", "amx"},
        "tables of library versions and instruction sets",
    ),
    "run/probe.py": ({"nvidia"}, "device files that appear or vanish make a kept answer stale"),
    "run/protocol.py": ({"cuda"}, "a fork server tells whether it holds a device context"),
    "run/worker.py": ({"cuda", "openblas"}, "the same, and numpy's thread pool must not exist before a fork"),
    "formats/edges.py": ({"openvino"}, "a file format has the name of the library that reads it"),
    "formats/ir.py": ({"openvino"}, "the same"),
    "formats/proof.py": ({"openvino"}, "the same"),
    "formats/reference.py": ({"openvino"}, "a file format has the name of the library that reads it"),
    "tasks/unrolled.py": ({"onnxruntime"}, "it names who runs the float source, where that stops"),
    "referee/asking.py": ({"openblas"}, "a voice has one thread, whatever its library takes by itself"),
    "referee/voices/onnxruntime.py": ({"onnxruntime"}, "a voice: the library that it asks"),
    "referee/voices/openvino.py": ({"openvino"}, "a voice: the library that it asks"),
    "quant/ir_graph.py": ({"openvino"}, "the format's only reader"),
    "quant/onnx_session.py": ({"onnxruntime"}, "the one session in which graphs run that are no deployment"),
    "quant/layer_times.py": ({"onnxruntime"}, "its profiler is asked what each layer takes"),
    "quant/qdq_layout.py": (
        {"onnxruntime"},
        "its engine fuses what it writes: it decides where to round",
    ),
    "quant/silent_nncf.py": ({"nncf"}, "two strategies silence it alike"),
    "quant/nncf_network.py": ({"nncf"}, "two strategies tell it the same of a network"),
    "meters/rapl.py": ({"rapl"}, "a leaf: the operating system's own name for its energy counters"),
    "meters/nvml.py": ({"cuda", "nvidia"}, "a leaf: the driver that it reads"),
}


def imports_of(path):
    """Yield every qbench module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("qbench"))
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            if node.module and node.module.partition(".")[0] == "qbench":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(parts):
    return parts[0].removesuffix(".py")


def upward(path, root=ROOT / "qbench"):
    """Return the imports of a file that do not point down."""
    inside = path.relative_to(root).parts
    here = layer_of(inside)
    found = []
    for name in imports_of(path):
        layer = name.split(".")[1] if "." in name else "__init__"
        if layer != here and layer not in MAY_IMPORT[here]:
            found.append(f"{'/'.join(inside)} imports {name}")
    return found


def sideways(path, root=ROOT / "qbench"):
    """Return the plug-in leaves that another leaf imports."""
    folder, *rest = path.relative_to(root).parts
    if folder not in PLUGINS or rest in (["base.py"], ["__init__.py"]) or len(rest) != 1:
        return []
    found = []
    for name in imports_of(path):
        parts = name.split(".")
        target = parts[2] if len(parts) > 2 else ""
        leaf = (root / folder / f"{target}.py").is_file()
        if parts[1] == folder and leaf and target != "base" and f"{folder}/{target}.py" not in SHARED:
            found.append(f"{folder}/{rest[0]} imports {name}")
    return found


def vendor_words(path):
    """Return the vendor words in a file's code: names, attributes and texts; comments and docstrings may tell facts."""  # noqa: E501
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    told = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in told:
            texts.append(node.value)
        texts += [
            getattr(node, name)
            for name in ("id", "attr", "arg", "name", "module")
            if isinstance(getattr(node, name, None), str)
        ]
    return {word for word in VENDOR for text in texts if word in text.lower()}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    assert upward(path) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_plug_in_leaves_do_not_import_each_other(path):
    assert sideways(path) == []


def test_words_import_each_other_without_a_circle():
    graph = {}
    for word in WORDS - {"__version__"}:
        names = {name.split(".")[1] for name in imports_of(ROOT / "qbench" / f"{word}.py")}
        graph[word] = names & (WORDS - {"__version__"})
    assert graph["errors"] == set()
    while graph:
        free = {word for word, names in graph.items() if not names}
        assert free, f"a circle in {graph}"
        graph = {word: names - free for word, names in graph.items() if word not in free}


def test_vendor_words_stay_in_backends_strategies_and_data():
    for path in SOURCES:
        inside = path.relative_to(ROOT / "qbench")
        if inside.parts[0] in ("backends", "strategies"):
            continue
        allowed, _ = EXCEPTIONS.get(str(inside), (set(), ""))
        assert vendor_words(path) == allowed, (
            f"qbench/{inside}: move the word to a backend, or give a reason here"
        )


# --- nothing heavy is imported before it is needed --------------------------------------------------

HEAVY = (
    "torch",
    "transformers",
    "onnx",
    "onnxruntime",
    "openvino",
    "pandas",
    "scipy",
    "matplotlib",
    "sklearn",
    "numpy",
)


def loaded_by(code):
    """Return which heavy modules (and qbench's own) a fresh interpreter has loaded after this code."""
    tail = "\nimport sys\nprint(' '.join(name for name in sys.modules if '.' not in name or name.startswith('qbench')))"  # noqa: E501
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.splitlines()[-1].split())


def test_importing_qbench_does_no_work():
    assert {name for name in loaded_by("import qbench") if name.startswith("qbench")} == {"qbench"}


def test_help_answers_without_anything_heavy():
    code = "import sys\nfrom qbench.cli import main\nsys.argv = ['qbench', '--help']\ntry: main()\nexcept SystemExit: pass"  # noqa: E501
    assert loaded_by(code) & set(HEAVY) == set()


def test_the_report_never_imports_an_engine():
    names = [
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for path in SOURCES
        if "report" in path.parts
    ]
    loaded = loaded_by("import " + ", ".join(names))
    assert loaded & {"torch", "transformers", "onnx", "onnxruntime", "openvino"} == set()


def test_planning_and_running_import_no_engine_and_no_tables():
    """The parent of a run stays small: torch and the engines live in its workers."""
    loaded = loaded_by("import qbench.run.session, qbench.run.worker")
    assert loaded & set(HEAVY) <= {"numpy"}


def test_a_worker_needs_numpy_and_an_engine_only():
    """A small device has neither torch nor pydantic nor the command line's libraries."""
    blocked = (
        "torch",
        "transformers",
        "pydantic",
        "pandas",
        "typer",
        "rich",
        "scipy",
        "matplotlib",
        "sklearn",
        "onnx",
    )
    code = f"import sys\nfor name in {blocked}: sys.modules[name] = None\nimport qbench.run.worker"
    assert "qbench.run.worker" in loaded_by(code)


# --- the guards themselves --------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path):
    """Return a function that writes a file into an empty house and returns its path."""

    def write(name, text):
        path = tmp_path / "qbench" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(("name", "text"), [
    ("report/x.py", "from qbench.run.plan import Plan"),
    ("report/x.py", "def f():\n    import qbench.backends.base"),
    ("quant/x.py", "from qbench.formats import artifact"),
    ("quant/x.py", "from qbench.quality import judge"),
    ("measure/x.py", "from qbench import models"),
    ("codec.py", "from qbench.store import Store\nfrom qbench.formats.cache import holds"),
    ("strategies/x.py", "from qbench.backends.base import BACKENDS"),
])  # fmt: skip
def test_an_import_that_points_up_is_seen(house, tmp_path, name, text):
    assert len(upward(house(name, text), tmp_path / "qbench")) == 1


def test_a_leaf_that_imports_a_leaf_is_seen(house, tmp_path):
    house("strategies/other.py", "")
    path = house(
        "strategies/x.py",
        "def f():\n    from qbench.strategies.other import y\nfrom qbench.strategies.base import Z",
    )
    assert len(sideways(path, tmp_path / "qbench")) == 1


def test_a_vendor_word_in_code_is_seen_and_one_in_a_comment_is_not(house):
    assert vendor_words(house("a.py", '"""cuda"""\n# cuda\ndef f():\n    """openvino"""\n')) == set()
    assert vendor_words(house("a.py", "x = 'CUDAExecutionProvider'")) == {"cuda"}
    assert vendor_words(house("a.py", "import openvino")) == {"openvino"}
    assert vendor_words(house("a.py", "torch.cuda.synchronize()")) == {"cuda"}
    assert vendor_words(house("a.py", "def onnxruntime_only(): pass")) == {"onnxruntime"}
