"""The front door: Beholder's commands, a list and nothing else.

What a command does stands in `experiment` or `analysis` and is imported only when it is called, so that `--help`
answers at once. A user's mistake ends in one sentence and exit code 1; a traceback is a defect of ours.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.progress import TaskID

    from beholder.analysis.importing.recordings import ImportedGaze, NewStudy, Place
    from beholder.experiment.preflight import Check
    from beholder.experiment.session.ending import Outcome
    from beholder.shared.errors import Remark

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.", show_default=False)]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes at work; by default one a core.", show_default=False)
]
Source = Annotated[
    Path,
    typer.Argument(metavar="SOURCE", help="A file, or a folder of them, one participant each.", show_default=False),
]
Images = Annotated[Path | None, typer.Option(help="Folder of the pictures, for a new study.")]
ScreenPx = Annotated[str, typer.Option(metavar="WxH", help="Px of the screen, for a new study: 1920x1080.")]
ScreenCm = Annotated[str, typer.Option(metavar="WxH", help="Its size in cm, for a new study: 53x29.8.")]
DistanceCm = Annotated[
    float | None, typer.Option(min=5, max=1000, help="From the eyes to the screen in cm, for a new study.")
]
PicturePlace = Annotated[
    str, typer.Option(help="centred or filled: where pictures stood if no message says so, for a new study.")
]
Participant = Annotated[str | None, typer.Option(help="The participant's label; by default as the file is called.")]
Meant = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help='What is unusual in the data and meant so: "onset unit", "duration unit", '
        '"position unit", "overlapping events", "mostly off the picture", "sampling rate", "rounded times", '
        '"validity codes", "decimal comma", "early onset" or "time jump"; may be given several times.',
        show_default=False,
    ),
]
RunNumber = Annotated[int, typer.Option("--run", min=1, help="Number of the participant's run.")]
DEMO_SEED = 1
STOPPED_BY_CTRL_C = 130  # the exit code that typer gives, as shells do

app = typer.Typer(
    name="beholder",
    help="Do models look where people look? Run an eye-tracking study of pictures, and compare its gaze with the "
    "attention of Vision Transformers.",
    epilog='Start with "beholder demo": a simulated study, from first sample to report.',
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
importing = typer.Typer(help="Bring other people's recordings into a study.", no_args_is_help=True)
app.add_typer(importing, name="import")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the study is made; it must not exist yet.")] = Path("demo"),
    participants: Annotated[int, typer.Option(min=1, max=999, help="How many to simulate.")] = 30,
    workers: Workers = None,
) -> None:
    """A simulated study, from first sample to report.

    Example: beholder demo --out my-demo --participants 10
    """
    from beholder.shared.dataset.making import create_study
    from beholder.shared.stimuli.folder import bundled_folder
    from beholder.shared.study import ModelSettings, new_study

    study = new_study("Beholder's demonstration", bundled_folder())
    # Random weights, in a study drawn 20 times, are what takes longest.
    alignment = study.alignment.model_copy(update={"random_weights": 3})
    study = study.model_copy(update={"models": ModelSettings(names=["offline"]), "alignment": alignment})
    if (out / "study.toml").exists():
        # A demo that was interrupted goes on; one that is whole is only shown again.
        _say(f"{out} is a study already: it is completed and analysed again where needed.")
    else:
        create_study(out, study, bundled_folder())
    _simulate(out, participants, DEMO_SEED, workers)
    _analyze(out, (), None, workers)


@app.command()
def new(
    study_folder: StudyFolder,
    stimuli: Annotated[
        Path | None, typer.Option(help="Folder of your own pictures; by default the 20 bundled objects.")
    ] = None,
) -> None:
    """Make a study folder: pictures, and a commented study.toml that holds every choice.

    Regions of your own pictures are optional: masks/bag-01.png (a label map), masks/bag-01/handle.png (one PNG a part),
    or a COCO file beside the pictures.

    Examples: beholder new my-study   |   beholder new my-study --stimuli photographs/
    """
    from beholder.shared.dataset.making import create_study
    from beholder.shared.stimuli.folder import bundled_folder
    from beholder.shared.study import new_study

    pictures = stimuli or bundled_folder()
    _show(create_study(study_folder, new_study(study_folder.resolve().name, pictures), pictures))
    _say(f"{study_folder} is ready: write your screen's measures into {study_folder / 'study.toml'}, then try")
    _say(f'"beholder doctor {study_folder}" or "beholder simulate {study_folder} --participants 30".')


@app.command()
def doctor(
    study_folder: Annotated[
        Path | None, typer.Argument(metavar="[STUDY]", help="The study's folder.", show_default=False)
    ] = None,
) -> None:
    """Is this computer fit to run and to analyse? One line a check, with the remedy.

    With a study, its window is opened for two seconds, to measure the screen.

    Examples: beholder doctor   |   beholder doctor my-study
    """
    from beholder.experiment.live import doctor as examine

    found = examine(study_folder)
    _print_checks(found)
    if any(check.verdict == "unfit" for check in found):
        raise typer.Exit(1)


@app.command()
def run(
    study_folder: StudyFolder,
    participant: Annotated[
        str | None, typer.Option(help="A label of letters and digits, such as 01; asked for if left out.")
    ] = None,
    tracker: Annotated[
        str | None, typer.Option(help="mouse, tobii, eyelink or synthetic; by default the study's.", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a session that ended early.")] = False,
    another_run: Annotated[
        int | None,
        typer.Option("--run", min=1, help="The next run's number: show all again to one who is complete."),
    ] = None,
    override: Annotated[
        str | None, typer.Option(metavar="REASON", help="Run although something is unfit; the reason is kept.")
    ] = None,
    group: Annotated[
        str, typer.Option(metavar="GROUP", help="The participant's group, where the study has groups.")
    ] = "",
    windowed: Annotated[bool, typer.Option("--windowed", help="A window on the desktop, to try things out.")] = False,
) -> None:
    """A participant's session: form, calibration, validation, and the pictures, recorded from first to last.

    This terminal is the operator's; a session that was interrupted goes on with --resume.

    Examples: beholder run my-study --participant 01 --tracker mouse   |
    beholder run my-study --participant 01 --resume   |
    beholder run my-study --participant 02 --group expert   |
    beholder run my-study --participant test --tracker mouse --windowed   |
    beholder run my-study --participant 01 --override "a pilot on my laptop"
    """
    from beholder.experiment.live import run_in_lab
    from beholder.shared.errors import StudyError

    if participant is None:
        if not sys.stdin.isatty():
            raise StudyError("nobody is named: say who it is with --participant, such as --participant 01.")
        participant = str(typer.prompt("Participant's label, such as 01"))
    outcome = run_in_lab(
        study_folder,
        participant,
        tracker=tracker,
        resume=resume,
        another_run=another_run,
        override=override,
        group=group,
        windowed=windowed,
        say=lambda text: print(text, file=sys.stderr),
        report=_print_checks,
    )
    _conclude_session(study_folder, participant, outcome)


@app.command()
def simulate(
    study_folder: StudyFolder,
    participants: Annotated[int, typer.Option(min=1, max=999, help="How many the study shall have.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same participants.")] = 1,
    workers: Workers = None,
) -> None:
    """Simulate participants: the real protocol, without a screen, faster than real time.

    Participants who are there already are kept, so an interrupted simulation goes on.

    Example: beholder simulate my-study --participants 30 --seed 1
    """
    _simulate(study_folder, participants, seed, workers)


@importing.command("fixations")
def import_fixations(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv",
            help="participant, stimulus, x_px, y_px, duration_ms; optionally order, onset_s.",
            show_default=False,
        ),
    ],
    study_folder: StudyFolder,
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures, for a new study.")] = None,
    picture_width_deg: Annotated[
        float | None, typer.Option(min=0.1, max=179, help="Degrees of visual angle that a picture's width spanned.")
    ] = None,
    meant: Meant = None,
) -> None:
    """Import a table of fixations; makes STUDY where there is none.

    Positions are px of the picture, origin upper left. Without --picture-width-deg, degrees stay unknown and sigma is
    in percent of the picture's width. A table that is plainly of other units, or mostly off its pictures, is asked
    about: --meant says that it is right.

    Example: beholder import fixations fixations.csv my-study --images photographs/ --picture-width-deg 24
    """
    from beholder.analysis.importing import fixation_table as analysis_importing

    result = analysis_importing.import_fixations(table, study_folder, images, picture_width_deg, meant or ())
    _show(result.remarks)
    _say(
        f"{result.fixations} fixations of {len(result.participants)} participants on {result.stimuli} pictures are "
        f'in {result.study_folder}; next: "beholder analyze {result.study_folder}".'
    )


@importing.command("asc")
def import_asc(
    source: Source,
    study_folder: StudyFolder,
    images: Images = None,
    screen_px: ScreenPx = "",
    screen_cm: ScreenCm = "",
    distance_cm: DistanceCm = None,
    picture_place: PicturePlace = "",
    participant: Participant = None,
    run: RunNumber = 1,
    meant: Meant = None,
) -> None:
    """Import EyeLink recordings that edf2asc converted, with samples and events; makes STUDY where there is none.

    Messages say what was shown: [messages] in study.toml. What nobody says of the screen stays unknown. Gaze that is
    plainly of another unit, or mostly off the screen, is asked about: --meant says that it is right.

    Example: beholder import asc recordings/ my-study --images photographs/ --screen-cm 53x29.8 --distance-cm 60
    """
    from beholder.analysis.importing import recordings

    new = _new_study(images, screen_px, screen_cm, distance_cm, picture_place)
    _imported(recordings.import_asc(source, study_folder, new, participant=participant, run=run, meant=meant or ()))


@importing.command("edf")
def import_edf(
    source: Source,
    study_folder: StudyFolder,
    images: Images = None,
    screen_px: ScreenPx = "",
    screen_cm: ScreenCm = "",
    distance_cm: DistanceCm = None,
    picture_place: PicturePlace = "",
    participant: Participant = None,
    run: RunNumber = 1,
    meant: Meant = None,
) -> None:
    """Import EyeLink EDF files; needs the package eyelinkio.

    Example: beholder import edf recordings/ my-study
    """
    from beholder.analysis.importing import recordings

    new = _new_study(images, screen_px, screen_cm, distance_cm, picture_place)
    _imported(recordings.import_edf(source, study_folder, new, participant=participant, run=run, meant=meant or ()))


@importing.command("tobii")
def import_tobii(
    source: Source,
    study_folder: StudyFolder,
    images: Images = None,
    screen_px: ScreenPx = "",
    screen_cm: ScreenCm = "",
    distance_cm: DistanceCm = None,
    picture_place: PicturePlace = "",
    participant: Participant = None,
    run: RunNumber = 1,
    meant: Meant = None,
) -> None:
    """Import Tobii recordings: an export of Pro Lab (TSV), Titta's HDF5, or a table with the SDK's columns.

    Example: beholder import tobii export.tsv my-study --images photographs/ --screen-cm 53x29.8 --distance-cm 65
    """
    from beholder.analysis.importing import recordings

    new = _new_study(images, screen_px, screen_cm, distance_cm, picture_place)
    _imported(recordings.import_tobii(source, study_folder, new, participant=participant, run=run, meant=meant or ()))


@app.command()
def analyze(
    study_folder: StudyFolder,
    model: Annotated[
        list[str] | None,
        typer.Option(help='A model\'s name in timm, or "offline", which needs no network; may be given several times.'),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights for the model: .safetensors, or .pth of tensors only.")
    ] = None,
    workers: Workers = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Dask scheduler, tcp://HOST:PORT, whose workers do the work."),
    ] = None,
    device: Annotated[str, typer.Option(help='Where torch computes: "cpu", or "cuda" for a GPU.')] = "cpu",
) -> None:
    """Fixations, attention, alignment, statistics and report; what is up to date is not computed again.

    Examples: beholder analyze my-study   |   beholder analyze my-study --model offline   |
    beholder analyze my-study --model vit_base_patch16_224.dino --weights dino_vitb16.pth   |
    beholder analyze my-study --cluster tcp://node7:8786
    """
    _analyze(study_folder, model or (), weights, workers, cluster, device)


@app.command()
def report(study_folder: StudyFolder) -> None:
    """Make the statistics, figures and page anew from the analysis that is there.

    Example: beholder report my-study
    """
    from beholder.analysis.pipeline.analyze import conclude

    with _Bars() as progress:
        path = conclude(study_folder, progress)
    _say(str(path))


@app.command()
def fetch(
    study_folder: StudyFolder,
    participant: Annotated[str, typer.Argument(metavar="PARTICIPANT", help='A label, such as "07".')],
    run: RunNumber = 1,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The host computer, where it is not [eyelink] host.")
    ] = None,
) -> None:
    """Fetch the file that an EyeLink's host computer holds of a session that ended without it.

    Examples: beholder fetch my-study 07   |   beholder fetch my-study 07 --run 2 --host 100.1.1.1
    """
    from beholder.experiment.live import fetch_from_host

    _say(str(fetch_from_host(study_folder, participant, run, host=host, say=_say)))


@app.command()
def withdraw(
    study_folder: StudyFolder,
    participant: Annotated[str, typer.Argument(metavar="PARTICIPANT", help='A label, such as "07".')],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    called: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="What else they are called, such as an imported file's name: it is searched "
            "for too; may be given several times.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """List, then delete, all that is kept of one participant, results that contain their data included.

    Afterwards the whole study is searched for what still names them. After a crash the same command completes it.

    Examples: beholder withdraw my-study 07   |   beholder withdraw my-study 07 --called "Anna S"
    """
    from beholder.shared.dataset.withdrawal import withdraw as take_out
    from beholder.shared.dataset.withdrawal import withdrawal

    if held := withdrawal(study_folder, participant):
        _say(f"All of participant {participant} in {study_folder}:")
        for path in held:
            _say(f"  {path}")
        if not yes and not typer.confirm("Delete all of this? It cannot be undone"):
            raise typer.Exit(1)
    done = take_out(study_folder, participant, called or ())
    _say(f"Participant {participant} is gone from {study_folder}; {done.searched} files were searched for them.")
    if done.left:
        print(
            "beholder: these files still name them, and are not Beholder's to delete: look at each, and remove it:",
            file=sys.stderr,
        )
        for path in done.left:
            print(f"  {path}", file=sys.stderr)
        raise typer.Exit(1)
    _say(f'Nothing of them was found; "beholder analyze {study_folder}" makes the results of the others.')


def main() -> None:
    """Run a command; the console script `beholder`."""
    _print_what_any_terminal_takes()
    from beholder.shared.errors import BeholderError

    try:
        app()
    except BeholderError as error:
        print(f"beholder: {error}", file=sys.stderr)
        sys.exit(1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "beholder"):
            raise
        print(
            f"beholder: this needs the package {package}, which is not installed here: in an environment of Python "
            '3.11 or 3.12, pip install -e ".[analysis,offline]" -c constraints.txt',
            file=sys.stderr,
        )
        sys.exit(1)
    except OSError as error:
        print(
            f"beholder: {error.filename or 'a file'}: {error.strerror or error}; check the name, its permissions and "
            "the room on the disk.",
            file=sys.stderr,
        )
        sys.exit(1)
    except SystemExit as end:
        if end.code == STOPPED_BY_CTRL_C:
            print(
                "beholder: stopped; what was finished is kept, and the same command goes on from there.",
                file=sys.stderr,
            )
        raise


def _print_what_any_terminal_takes() -> None:
    """A letter that the terminal's or pipe's encoding lacks is printed as its number: a name must not end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _simulate(study_folder: Path, participants: int, seed: int, workers: int | None) -> None:
    import os

    from beholder.experiment.simulation import simulate as simulate_study

    with _Bars() as progress:
        result = simulate_study(
            study_folder,
            participants,
            seed,
            workers=workers or os.cpu_count() or 1,
            progress=lambda _, share: progress("participants", round(share * participants), participants),
        )
    there = len(result.already_there)
    _say(f"{len(result.simulated)} participants simulated, {there} were there already: {study_folder}")


def _analyze(
    study_folder: Path,
    models: Sequence[str],
    weights: Path | None,
    workers: int | None,
    cluster: str | None = None,
    device: str = "cpu",
) -> None:
    from beholder.analysis.pipeline.analyze import analyze as bring_up_to_date
    from beholder.analysis.pipeline.find import find

    found = find(study_folder)
    _say(f"{len(found.recordings)} recordings, {len(found.imports)} imported tables, {len(found.stimuli)} pictures")
    with _Bars() as progress:
        result = bring_up_to_date(
            study_folder,
            model_names=models,
            weights=weights,
            workers=workers,
            cluster=cluster,
            device=device,
            found=found,
            progress=progress,
        )
    _show(result.remarks)
    if not any(result.computed.values()):
        _say("Nothing has changed since the last analysis: nothing was computed again.")
    else:
        done = ", ".join(f"{name} {n} (kept {result.reused.get(name, 0)})" for name, n in result.computed.items())
        _say(f"Computed in {result.seconds:.0f} s: {done}")
    _say(str(result.report))


def _conclude_session(study_folder: Path, participant: str, outcome: Outcome) -> None:
    """Say what was kept and what to type next; the exit code is 0 only where all was done."""
    from beholder.experiment.quality_sheet import quality_sheet, sheet_lines
    from beholder.shared.errors import BeholderError

    for failure in outcome.failures:
        print(f"beholder: {failure}", file=sys.stderr)
    command = f"beholder run {study_folder} --participant {participant}"
    for path in outcome.files:
        _say(f"  {path}")
    sheet = None
    if outcome.files:
        try:
            sheet = quality_sheet(study_folder, participant)
        except BeholderError as error:
            # What to type next is said all the same.
            print(f"beholder: {error}", file=sys.stderr)
    for line in sheet_lines(sheet) if sheet is not None else ():
        _say(line)
    if outcome.status == "complete" and sheet is not None and sheet.left:
        print(
            f"beholder: participant {participant} has not seen {sheet.left} of {sheet.planned} pictures: show them "
            f'with "{command} --resume", or analyse without them.',
            file=sys.stderr,
        )
    elif outcome.status == "complete":
        _say(f'Participant {participant} is complete; next: "beholder analyze {study_folder}".')
    elif outcome.files:
        print(f'beholder: the session ended early: {outcome.reason}; go on with "{command} --resume".', file=sys.stderr)
    else:
        print(
            f'beholder: the session ended before anything was kept: {outcome.reason}; begin anew with "{command}".',
            file=sys.stderr,
        )
    if outcome.status != "complete" or outcome.failures:
        raise typer.Exit(1)


def _print_checks(found: Sequence[Check]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("", "what", "found", "remedy"):
        table.add_column(column, overflow="fold")
    colours = {"fit": "green", "doubtful": "yellow", "unfit": "red"}
    for check in found:
        colour = colours[check.verdict]
        table.add_row(f"[{colour}]{check.verdict}[/{colour}]", check.what, escape(check.found), escape(check.remedy))
    Console().print(table)


def _new_study(
    images: Path | None, screen_px: str, screen_cm: str, distance_cm: float | None, picture_place: str
) -> NewStudy:
    from beholder.analysis.importing.recordings import NewStudy

    px = size_of("--screen-px", screen_px)
    return NewStudy(
        images,
        px and (round(px[0]), round(px[1])),
        size_of("--screen-cm", screen_cm),
        distance_cm,
        place_of(picture_place),
    )


def size_of(option: str, text: str) -> tuple[float, float] | None:
    """Width and height of an option such as "1920x1080"; None where it is empty. Raises StudyError.

    >>> size_of("--screen-cm", "53 x 29.8")
    (53.0, 29.8)
    """
    from beholder.shared.errors import StudyError

    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*[x×]\s*(\d+(?:\.\d+)?)\s*", text)
    if text and (match is None or float(match[1]) == 0 or float(match[2]) == 0):
        raise StudyError(f"{option} is {text!r}: give width and height with an x between them, such as 1920x1080.")
    return (float(match[1]), float(match[2])) if match else None


def place_of(text: str) -> Place | None:
    """What --picture-place says, None where it is empty. Raises StudyError."""
    from beholder.shared.errors import StudyError

    places: dict[str, Place | None] = {"": None, "centred": "centred", "filled": "filled"}
    if text not in places:
        raise StudyError(f"--picture-place is {text!r}: it must be centred or filled.")
    return places[text]


def _imported(result: ImportedGaze) -> None:
    _show(result.remarks)
    _say(
        f"{result.samples} samples of {len(result.participants)} participants, {result.pictures} pictures shown, are "
        f'in {result.study_folder}; next: "beholder analyze {result.study_folder}".'
    )


class _Bars:
    """Progress bars on a terminal, one a stage; silence elsewhere. Gives `progress(stage, done, total)`."""

    def __enter__(self) -> Callable[[str, int, int], None]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        # Pieces may take minutes each: the rate is that of the last half hour.
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=1800,
        )
        tasks: dict[str, TaskID] = {}

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = self._bars.add_task(stage, total=total, rate="")
            self._bars.update(tasks[stage], completed=done, total=total)
            self._bars.update(tasks[stage], rate=_rate(self._bars.tasks[tasks[stage]].speed))

        self._bars.start()
        return progress

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


def _rate(speed: float | None) -> str:
    """How fast pieces are done, or how long each takes; empty where it is not known yet.

    >>> _rate(12.34), _rate(0.25), _rate(None)
    ('12.3/s', '4.0 s each', '')
    """
    if not speed:
        return ""
    return f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each"


def _show(remarks: Sequence[Remark]) -> None:
    for remark in remarks:
        print(f"note: {remark}", file=sys.stderr)


def _say(text: str) -> None:
    print(text, flush=True)  # at once, into a file or a pipe too
