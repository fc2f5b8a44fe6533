import subprocess
import sys

CODE = """
import sys

HEAVY = {"torch", "onnx", "onnxruntime", "openvino", "transformers", "pandas", "matplotlib", "sklearn"}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HEAVY:
            raise ImportError(f"{name} is blocked in this test")

sys.meta_path.insert(0, Blocked())
from qbench.backends.base import BACKENDS
from qbench.data.base import DATASETS
from qbench.models.base import MODELS
from qbench.strategies.base import STRATEGIES
from qbench.tasks.base import TASKS
import qbench.formats.edges, qbench.formats.proof, qbench.run.plan

for registry in (BACKENDS, DATASETS, MODELS, STRATEGIES, TASKS):
    names = list(registry)
    assert names, registry.kind
    assert not registry.failures, registry.failures
    for name in names:
        assert registry[name].about if hasattr(registry[name], "about") else registry[name]
"""


def test_every_leaf_is_listed_with_the_heavy_libraries_blocked():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
