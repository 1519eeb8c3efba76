"""What a module shows: its public names, signatures, enumerations and properties, to compare a fake with the real one.

Standard library only: it is also run by other interpreters. Signatures of pybind11's functions are read from the first
line of their docstrings.
"""

from __future__ import annotations

import inspect
import json
import re
import types
from typing import Any

Face = dict[str, Any]


def face(module: Any) -> dict[str, Face]:
    """Each public name, with what it is."""
    return {name: _of(getattr(module, name)) for name in dir(module) if not name.startswith("_")}


def _of(thing: Any) -> Face:
    if isinstance(thing, types.ModuleType):
        return {"kind": "module"}
    if hasattr(thing, "__members__"):
        return {"kind": "enumeration", "members": {name: int(member) for name, member in thing.__members__.items()}}
    if isinstance(thing, type):
        names = [name for name in dir(thing) if not name.startswith("_")]
        inherited = dir(Exception) if issubclass(thing, Exception) else ()
        parts = {name: _part(thing, name) for name in names if name not in inherited}
        return {
            "kind": "error" if issubclass(thing, Exception) else "class",
            "signature": _signature(thing.__init__),
            "parts": parts,
        }
    if callable(thing):
        return {"kind": "function", "signature": _signature(thing)}
    return {"kind": "value", "value": thing if isinstance(thing, (str, int, float)) else type(thing).__name__}


def _part(owner: type, name: str) -> Face:
    found = inspect.getattr_static(owner, name)
    if isinstance(found, property):
        return {"kind": "property", "can be set": found.fset is not None}
    return _of(getattr(owner, name))


def _signature(function: Any) -> list[list[Any]] | None:
    """Names of the parameters, and whether each has a default; None where it cannot be told."""
    if isinstance(function, types.FunctionType):
        parameters = list(inspect.signature(function).parameters.values())
        return [[p.name, p.default is not p.empty] for p in parameters if p.name != "self"]
    text = function.__doc__ or ""
    lines = [line for line in text.splitlines() if re.match(r"(1\. )?\w+\((self\b|arg0\b|\)|\w+:)", line)]
    if not lines:
        return None
    inner = lines[0][lines[0].index("(") + 1 : lines[0].rindex(")", 0, lines[0].rfind(" -> ") + 1 or None)]
    found = [part.strip() for part in _apart(inner)]
    pairs = [[re.split(r"[:=]", part)[0].strip(), " = " in part] for part in found if part]
    return [pair for pair in pairs if pair[0] != "self"]


def _apart(text: str) -> list[str]:
    """At its commas, those within brackets left alone."""
    parts, depth = [""], 0
    for letter in text:
        depth += letter in "([{"
        depth -= letter in ")]}"
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def differences(fake: dict[str, Face], real: dict[str, Face], where: str = "") -> list[str]:
    """In what the fake is not as the real one; it may have less, never more and nothing else."""
    found = []
    for name, ours in fake.items():
        place = f"{where}{name}"
        if name not in real:
            found.append(f"{place}: the real package has none")
            continue
        theirs = real[name]
        for key in ("kind", "value", "members", "can be set"):
            if ours.get(key) and ours[key] != theirs.get(key):
                found.append(f"{place}: its {key} is {ours.get(key)!r}, the real one's {theirs.get(key)!r}")
        signatures = ours.get("signature"), theirs.get("signature")
        # Positional parameters of pybind11 that have no name can be called anything.
        if None not in signatures and not _alike(*signatures):
            found.append(f"{place}: its parameters are {signatures[0]}, the real one's {signatures[1]}")
        found += differences(ours.get("parts", {}), theirs.get("parts", {}), f"{place}.")
    return found


def _alike(ours: list[list[Any]], theirs: list[list[Any]]) -> bool:
    named = [
        [a if re.fullmatch(r"arg\d", b) else b, default] for (a, _), (b, default) in zip(ours, theirs, strict=False)
    ]
    return ours == named and len(ours) == len(theirs)


def text(module: Any) -> str:
    """As JSON."""
    return json.dumps(face(module))
