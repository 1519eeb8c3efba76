"""Where a result came from: digests of files and settings, versions of packages.

A digest never depends on time, place or order of keys, so the same inputs give the same cache keys anywhere.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable
from dataclasses import is_dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of anything made of mappings, dataclasses, sequences, numbers, strings, bytes and arrays, in hex.

    >>> digest({"a": 1, "b": [2.5, None]}) == digest({"b": (2.5, None), "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed version of each package, read without importing it; "absent" where it is not installed."""
    return {package: _version(package) for package in packages}


@lru_cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def machine() -> dict[str, str]:
    """Kind of machine and Python: what results may depend on, and nothing that names a person or a place."""
    return {"python": platform.python_version(), "system": platform.system(), "machine": platform.machine()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        return ["array", str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(vars(value))
    if isinstance(value, Path):
        raise TypeError("a digest must not depend on where a file lies; take file_digest of it")
    return value
