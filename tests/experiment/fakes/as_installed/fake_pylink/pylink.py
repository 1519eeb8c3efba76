"""The fake as if it were installed: put this folder on PYTHONPATH. BEHOLDER_FAKE holds its script (JSON).

Where the script names a `report`, what the host handed over is written there when the program ends.
"""

import atexit
import importlib.util
import json
import os
from pathlib import Path

import numpy as np

_path = Path(__file__).parents[2] / "fake_pylink.py"
_spec = importlib.util.spec_from_file_location("fake_pylink", _path)
assert _spec is not None and _spec.loader is not None
_fake = importlib.util.module_from_spec(_spec)
# Its dataclasses look themselves up.
__import__("sys").modules["fake_pylink"] = _fake
_spec.loader.exec_module(_fake)
_script = json.loads(os.environ.get("BEHOLDER_FAKE", "{}"))
_host = _fake.host_in_real_time(_script)
globals().update({name: value for name, value in vars(_fake.library(_host)).items() if not name.startswith("__")})
__version__ = _fake.__version__
if "report" in _script:
    atexit.register(lambda: np.save(_script["report"], np.array(_host.delivered)))
# The real one says so, too.
print(f"Pylink {__version__}")
