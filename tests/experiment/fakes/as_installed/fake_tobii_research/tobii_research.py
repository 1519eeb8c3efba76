"""The fake under the real package's name: this folder on PYTHONPATH stands for an installed `tobii_research`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import fake_tobii_research

fake_tobii_research._use_environment()
sys.modules[__name__] = fake_tobii_research
