"""Where a screen was promised (`.ci/run` installs one), a test that has none fails instead of being skipped.

In the checkout `import analysis` would find the folder, and make a second copy of what `beholder.analysis` is: refused.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator

import pytest
from hypothesis import settings

# A machine that is busy makes no test fail.
settings.register_profile("beholder", deadline=None)
settings.load_profile("beholder")
sys.modules.update(dict.fromkeys(("analysis", "experiment", "shared", "stimuli")))  # type: ignore[arg-type]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("BEHOLDER_NEEDS_SCREEN") and "xvfb" in str(report.longrepr).lower():
        report.outcome = "failed"
        report.longrepr = f"BEHOLDER_NEEDS_SCREEN is set, and this was skipped: {report.longrepr}"
    return report
