"""The lists of packages in locked/, against constraints.txt, pyproject.toml and what is installed here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LISTS = ("acquisition", "analysis", "all", "torch", "stand-in")
# Of what is installed, this is not from a list: Beholder, and what an environment begins with.
BEGINNING = {"beholder", "pip", "setuptools"}


def listed(name: str) -> list[tuple[Requirement, int]]:
    """The packages of a list, each with the number of its hashes."""
    packages = re.split(r"\n(?=[^\s#])", (ROOT / "locked" / f"{name}.txt").read_text("utf-8"))
    found = []
    for package in packages:
        if not package.startswith("#"):
            pinned, *hashes = package.replace("\\\n", " ").split(" --hash=")
            found.append((Requirement(pinned.strip()), len(hashes)))
    return found


def constraints() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def holds(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate()


def needed(names: Iterator[Requirement]) -> set[str]:
    """The installed packages that these need, and what those need in turn, where this test runs."""
    found: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(r.name), extra) for r in names if holds(r) for extra in ("", *r.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for requirement in map(Requirement, metadata.requires(name) or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(requirement.name), e) for e in ("", *requirement.extras)]
    return {name for name, _ in found}


@pytest.mark.parametrize("name", LISTS)
def test_every_package_of_a_list_has_one_version_and_hashes(name: str) -> None:
    packages = listed(name)
    assert packages
    for package, n_hashes in packages:
        assert [s.operator for s in package.specifier] == ["=="], package
        assert n_hashes > 0, package


def test_the_lists_and_constraints_have_the_same_packages_in_the_same_versions() -> None:
    allowed: dict[str, list[Requirement]] = {}
    for constraint in constraints():
        allowed.setdefault(canonicalize_name(constraint.name), []).append(constraint)
    # The frameworks of macOS, which pyobjc pins itself; the stand-in is installed by its own list alone.
    locked = [p for name in LISTS[:-1] for p, _ in listed(name) if not p.name.startswith("pyobjc-framework-")]
    for package in locked:
        (version,) = (s.version for s in package.specifier)
        assert any(version in c.specifier for c in allowed.get(canonicalize_name(package.name), ())), package
    assert allowed.keys() == {canonicalize_name(p.name) for p in locked}


def test_what_is_installed_is_in_the_list_that_this_python_is_set_up_by() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [Requirement(r) for group in (project["dependencies"], *extras.values()) for r in group]
    try:
        wanted = needed(r for r in asked if r.name != "beholder") - BEGINNING
    except metadata.PackageNotFoundError as error:
        pytest.skip(f"{error} is not installed: this environment is not that of `make test`")
    locked = {
        canonicalize_name(p.name): p for name in ("all", "torch", "stand-in") for p, _ in listed(name) if holds(p)
    }
    assert wanted <= locked.keys()
    for name in wanted:
        # A build of torch for CPUs alone has a local version: 2.13.0+cpu.
        assert metadata.version(name).partition("+")[0] in locked[name].specifier, name


def test_the_stand_in_needs_nothing_of_what_its_package_asks_for() -> None:
    unused = {"albumentations", "albucore", "opencv-python-headless", "simsimd", "stringzilla"}
    assert not unused & {canonicalize_name(p.name) for name in LISTS for p, _ in listed(name)}
    of_runs = {canonicalize_name(p.name) for name in ("acquisition", "analysis") for p, _ in listed(name)}
    assert "onnxruntime" not in of_runs
