"""Installed, Beholder is one package of one name: nothing of a lab's own folders is taken for a part of it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import tomllib

from tests.analysis.scenes import three_scenes

ROOT = Path(__file__).resolve().parent.parent
OURS = ("analysis", "experiment", "shared", "stimuli")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]


def test_every_folder_of_modules_is_listed_and_none_other() -> None:
    folders = {file.parent.relative_to(ROOT) for name in OURS for file in (ROOT / name).rglob("*.py")}
    assert sorted(SETTINGS["packages"]) == sorted(["beholder", *(f"beholder.{'.'.join(f.parts)}" for f in folders)])
    assert all((ROOT / folder / "__init__.py").exists() for folder in folders)


def test_each_folder_has_its_place_and_its_link() -> None:
    places = SETTINGS["package-dir"]
    assert places == {"beholder": "beholder"} | {f"beholder.{name}": name for name in OURS}
    for name in OURS:
        assert (ROOT / "beholder" / name).samefile(ROOT / name)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # What is committed, or would be: nothing that a build left behind here.
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / "source" / name
        if source.is_file() and not source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    # Links are left out above, as on a computer that has none: the build must not need them.
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(folder), str(folder / "source")], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_a_wheel_has_one_name_and_all_that_is_not_code(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"beholder"}
    here = {
        f"beholder/{file.relative_to(ROOT).as_posix()}"
        for name in OURS
        for file in (ROOT / name).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.name != "requirements.txt"
    }
    assert here <= set(names)
    assert "beholder/py.typed" in names


@pytest.mark.slow
def test_an_installed_beholder_works_among_folders_of_its_own_folders_names(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    inside = tmp_path / "env" / "bin" / "python"
    site = Path(subprocess.run([inside, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                               capture_output=True, text=True, check=True).stdout.strip())  # fmt: skip
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)],
                   check=True, capture_output=True)  # fmt: skip
    # The other packages are those of this environment; what is installed as editable here is not followed.
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    lab = tmp_path / "lab"
    for name in (*OURS, "numpy_notes"):
        (lab / name).mkdir(parents=True)
        (lab / name / "__init__.py").write_text('raise SystemExit("a lab\'s own folder was imported")\n')
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"BEHOLDER_CACHE": str(tmp_path / "cache")}

    def run(*words: str) -> str:
        done = subprocess.run([inside, "-m", "beholder", *words], cwd=lab, env=environment, capture_output=True,
                              text=True, timeout=600)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run([inside, "-c", "import beholder.analysis; print(beholder.analysis.__file__)"], cwd=lab,
                           env=environment, capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert Path(where.strip()).is_relative_to(site)
    run("new", "study", "--stimuli", str(three_scenes(tmp_path / "scenes")))
    run("simulate", "study", "--participants", "2", "--workers", "2")
    settings = lab / "study" / "study.toml"
    lines = settings.read_text("utf-8").replace("random_weights = 20", "random_weights = 1")
    settings.write_text(lines, "utf-8")
    run("analyze", "study", "--model", "offline", "--workers", "2")
    assert "report.html" in run("report", "study")
