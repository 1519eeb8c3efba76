"""The front door: every command does what its help says, and a user's mistake ends in one sentence."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
needs_analysis = pytest.mark.skipif(sys.version_info < (3, 11), reason="the analysis needs Python 3.11 or newer")


def beholder(*words: object, cwd: Path | None = None, answer: str = "") -> subprocess.CompletedProcess[str]:
    # Without a screen, also where there is one: no window is to open here.
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"} | {"COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-m", "beholder", *map(str, words)],
        capture_output=True, text=True, input=answer, cwd=cwd, timeout=300, env=environment,
    )  # fmt: skip


def fails(result: subprocess.CompletedProcess[str]) -> str:
    """The one sentence on standard error of a command that failed by the user's mistake."""
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line and not line.startswith("note: ")]
    assert len(lines) == 1 and lines[0].startswith("beholder: "), result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("one", "two"):
        Image.new("RGB", (60, 40), "teal").save(folder / f"{name}.png")
    return folder


@pytest.fixture
def study(tmp_path: Path, photographs: Path) -> Path:
    result = beholder("new", tmp_path / "study", "--stimuli", photographs)
    assert result.returncode == 0, result.stderr
    return tmp_path / "study"


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "new",
        "doctor",
        "run",
        "simulate",
        "analyze",
        "report",
        "withdraw",
        "import fixations",
        "import asc",
        "import edf",
        "import tobii",
    ],
)
def test_every_commands_help_shows_an_example(command: str) -> None:
    result = beholder(*command.split(), "--help")
    assert result.returncode == 0
    assert f"beholder {command}" in " ".join(result.stdout.split("Example")[1].split())


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom beholder.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'numpy', 'pandas', 'pydantic', 'scipy', 'rich', 'PIL') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip().endswith("[]")


def test_a_new_study_is_made_once_and_never_overwritten(study: Path, photographs: Path) -> None:
    settings = study / "study.toml"
    assert "width_cm" in settings.read_text()
    settings.write_text(settings.read_text() + "# mine\n")
    assert "study" in fails(beholder("new", study, "--stimuli", photographs))
    assert settings.read_text().endswith("# mine\n")


@needs_analysis
def test_the_demo_is_about_what_a_new_study_is_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from beholder import cli
    from beholder.shared.study import NEW_PRIMARY, read_study

    for step in ("_simulate", "_analyze"):
        monkeypatch.setattr(cli, step, lambda *_: None)
    cli.demo(tmp_path / "demo", 1, 1)
    alignment = read_study(tmp_path / "demo").alignment
    assert (alignment.primary, alignment.random_weights) == (NEW_PRIMARY, 3)


def test_pictures_that_are_broken_begin_no_study(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no picture")
    assert "a.png" in fails(beholder("new", tmp_path / "study", "--stimuli", tmp_path / "bad"))
    assert not (tmp_path / "study").exists()


def test_a_wrong_setting_is_named_by_every_command_that_reads_it(study: Path) -> None:
    settings = study / "study.toml"
    settings.write_text(settings.read_text().replace("sigma = 1.0", "sigma = 1.05"))
    for words in (["simulate", study], ["analyze", study]):
        if words[0] == "analyze" and sys.version_info < (3, 11):
            continue
        assert "maps: sigma (1.05) must be one of the sweep's values" in fails(beholder(*words))


def test_doctor_names_what_is_unfit_and_says_so_by_its_exit_code(study: Path) -> None:
    good = beholder("doctor", study)
    assert good.returncode == 0 and "clock" in good.stdout and "disk" in good.stdout
    settings = study / "study.toml"
    settings.write_text(settings.read_text().replace("size_deg = 20.0", "size_deg = 80.0"))
    bad = beholder("doctor", study)
    assert bad.returncode == 1 and "unfit" in bad.stdout


def test_a_session_that_cannot_be_had_is_refused_with_what_to_type(study: Path) -> None:
    assert "--participant 01" in fails(beholder("run", study))
    assert "letters and digits" in fails(beholder("run", study, "--participant", "P 1"))
    assert f'begin with "beholder run {study} --participant 01"' in fails(
        beholder("run", study, "--participant", "01", "--resume")
    )
    assert "take mouse, tobii, eyelink" in fails(beholder("run", study, "--participant", "01", "--tracker", "toby"))
    assert not list(study.glob("sub-*"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is always a screen")
@pytest.mark.skipif(find_spec("psychopy") is None, reason="PsychoPy is not installed: no window can be opened")
def test_where_there_is_no_screen_a_session_says_so_and_doctor_goes_on(study: Path) -> None:
    assert "there is no screen" in fails(beholder("run", study, "--participant", "01"))
    found = beholder("doctor", study)
    assert found.returncode == 0 and "there is no screen" in " ".join(found.stdout.split())


@needs_analysis
def test_what_is_not_there_is_said_with_the_next_step(study: Path, tmp_path: Path) -> None:
    assert "beholder new" in fails(beholder("analyze", tmp_path / "nowhere"))
    assert "beholder simulate" in fails(beholder("analyze", study))
    assert "beholder analyze" in fails(beholder("report", study))


def test_simulate_completes_what_is_missing_and_withdraw_takes_one_out(study: Path) -> None:
    settings = study / "study.toml"
    short = settings.read_text().replace("picture_s = 10.0", "picture_s = 1.0").replace('"object"', '"centre"')
    settings.write_text(short)
    assert "1 participants simulated" in beholder("simulate", study, "--participants", 1).stdout
    again = beholder("simulate", study, "--participants", 2)
    assert "1 participants simulated, 1 were there already" in again.stdout
    refused = beholder("withdraw", study, "02", answer="n\n")
    assert refused.returncode == 1 and "sub-02" in refused.stdout and (study / "sub-02").exists()
    assert beholder("withdraw", study, "02", "--yes").returncode == 0
    assert not list(study.rglob("*sub-02*")) and (study / "sub-01").exists()
    assert "sub-02" not in (study / "participants.tsv").read_text()
    assert "02" in fails(beholder("withdraw", study, "02", "--yes"))


@needs_analysis
def test_import_shows_its_notes_and_the_next_command(tmp_path: Path, photographs: Path) -> None:
    table = tmp_path / "gaze.csv"
    table.write_text("participant,stimulus,x_px,y_px,duration_ms,mood\nP-1,one,5,5,200,good\n")
    result = beholder("import", "fixations", table, tmp_path / "new", "--images", photographs)
    assert result.returncode == 0 and "beholder analyze" in result.stdout
    assert "mood" in result.stderr and "is called P1" in result.stderr and "two.png" in result.stderr
    assert "--images" in fails(beholder("import", "fixations", table, tmp_path / "other"))


def test_a_missing_package_is_named_with_the_way_to_install_it(study: Path) -> None:
    code = (
        "import sys\nfrom beholder.cli import main\n"
        "sys.modules['platformdirs'] = None\n"  # as if it were not installed
        f"sys.argv = ['beholder', 'analyze', {str(study)!r}]\n"
        "main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "not installed here" in result.stderr and "pip install" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals to a group of processes are POSIX's")
def test_ctrl_c_ends_in_one_sentence_and_the_same_command_goes_on(study: Path) -> None:
    settings = study / "study.toml"
    settings.write_text(settings.read_text().replace('"object"', '"centre"'))
    command = [sys.executable, "-m", "beholder", "simulate", str(study), "--participants", "4"]
    # A terminal sends the signal to all processes of the command: they are a group of their own here.
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    time.sleep(1.5)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=120)
    if running.returncode == 0:  # a fast machine was done before
        pytest.skip(f"the simulation was over before it could be stopped: {out}")
    assert running.returncode == 130 and "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("beholder: stopped")
    assert beholder("simulate", study, "--participants", 4).returncode == 0
    assert len(list(study.glob("sub-*"))) == 4


def test_a_letter_that_a_pipe_lacks_ends_no_command(photographs: Path, tmp_path: Path) -> None:
    # As on a Windows computer whose output goes into a file: cp1252 has no such sign.
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "COLUMNS": "100"}
    command = [sys.executable, "-m", "beholder", "new", str(tmp_path / "\N{CJK UNIFIED IDEOGRAPH-6728}")]
    done = subprocess.run([*command, "--stimuli", str(photographs)], capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert b"\\u6728" in done.stdout
