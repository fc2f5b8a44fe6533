"""Runs on the emulated device at the end of its set-up: see that all of it works, and print its manifest.

manifest.py QEMU_VERSION PLUGIN_ABSENT RECIPE CPUS DEBIAN_PACKAGES: an empty PLUGIN_ABSENT says that it
counts, CPUS are words, DEBIAN_PACKAGES are names of .deb files. Every engine is imported, and a
process is forked as the worker does.
"""

import json
import os
import platform
import sys
from urllib.parse import unquote

import numpy as np


def main() -> None:
    """Print the manifest, or fail by the exception of what does not work."""
    qemu, plugin_absent, recipe, cpus, debs = sys.argv[1:]
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import onnxruntime
    import openvino

    openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")  # loads its plugin: fails if no core is eligible
    child = os.fork()
    if child == 0:
        os._exit(int(np.arange(8).sum()))
    status = os.waitpid(child, 0)[1]
    if os.waitstatus_to_exitcode(status) != 28:
        raise SystemExit(f"a forked child ended with status {status}, 28 is the right exit code")
    sys.stdout.write(
        json.dumps(
            {
                "format": 1,
                "machine": platform.machine(),
                "qemu": qemu,
                "cpus": cpus.split(),
                "python": platform.python_version(),
                "packages": {
                    "numpy": np.__version__,
                    "onnxruntime": onnxruntime.__version__,
                    "openvino": openvino.__version__.split("-")[0],
                },
                "plugin": not plugin_absent,
                "plugin_absent": plugin_absent,
                "debian": dict(sorted(_package(name) for name in debs.split())),
                "recipe": recipe,
            },
            indent=1,
        )
        + "\n"
    )


def _package(name: str) -> tuple[str, str]:
    package, version, architecture = unquote(name.removesuffix(".deb")).split("_")
    return f"{package}:{architecture}", version


if __name__ == "__main__":
    main()
