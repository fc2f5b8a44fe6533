"""Lets this folder's tests import their helpers: the importlib mode of pytest adds no folder by itself."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
