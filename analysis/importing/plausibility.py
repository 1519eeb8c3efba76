"""Questions before an import: values that are plainly in another unit, off the picture, or at an impossible time.

A question is a DataError of one sentence that names what was expected, what was found and how to say that it is meant.
What cannot be (text for a number, gaze a million px away) is refused where it is read, whatever is meant.

Units are judged for the whole table and for each participant, since one participant may have been exported otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import astuple
from pathlib import Path, PureWindowsPath
from typing import get_args

import numpy as np
import pandas as pd

from beholder.analysis.importing.vendor_recording import Message, VendorRecording
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import DataError, StudyError
from beholder.shared.parsing import shortened
from beholder.shared.screen import Rect
from beholder.shared.study import Meant, MessageSettings

# Left, top, width and height in px, or arrays of them.
Place = tuple[float, float, float | FloatArray, float | FloatArray]

# The median fixation of any viewer and task lies between these; a wrong unit, a factor of 1,000, leads far outside.
SHORTEST_MEDIAN_MS, LONGEST_MEDIAN_MS = 20.0, 5000.0
# No tracker could see a shorter fixation, and a blink would end a longer one: there are several blinks a minute.
SHORTEST_MS, LONGEST_MS = 1.0, 60_000.0
# A participant with fewer fixations is not judged alone.
FEWEST = 5
# From one fixation's onset to the next pass its duration and a saccade; in another unit, 1,000 times as much.
LONGEST_STEP, SHORTEST_STEP = 100.0, 0.5  # in durations
# Onsets count from the picture's onset: where a trial's first fixation comes a minute later, they count from elsewhere.
LATEST_FIRST_S = 60.0
# The longest time for which Beholder itself shows a picture.
LATEST_S = 3600.0
# Positions given as shares of a picture lie between 0 and 1, as percent between 0 and 100: at least this share of them,
# since some gaze is off the picture.
IN_SHARES = 0.95
# At least half of a person's gaze lies on the screen, in shares of it at 0 to 1; in px or percent, at tens or more.
FARTHEST_MEDIAN = 10.0
# A picture's first sample comes with its onset, or soon after where an experiment starts the tracker late.
LATEST_SAMPLE_S = 5.0
# A gap without samples during which the tracker was not stopped; longer than a pause within a session.
LONGEST_GAP_S = 600.0
# Nobody looks at pictures for so many samples without coming near the middle of any. Gaze in mm lies, at least in this
# share, within the screen's size in mm.
FEWEST_SAMPLES, ALL_IN_MM = 50, 0.99
# From this share off the picture on, exchanging x and y is suggested where it would leave at most a tenth of that off.
OFF_IF_EXCHANGED = 0.1


def meant_of(names: Sequence[str]) -> tuple[Meant, ...]:
    """The names given to --meant, each once. Raises StudyError for a name that is not known.

    >>> meant_of(["onset unit"])
    ('onset unit',)
    """
    known = {name: name for name in get_args(Meant)}
    for name in names:
        if name not in known:
            raise StudyError(f"--meant is {name!r}: it must be one of {', '.join(map(repr, known))}.")
    return tuple(dict.fromkeys(known[name] for name in names))


def ask(what: Meant, sentence: str, meant: Collection[str]) -> None:
    """Raise DataError with `sentence` and how to say that it is meant, unless `what` is among the `meant`."""
    if what not in meant:
        raise DataError(f'{sentence}; or, if it is meant, say --meant "{what}" (meant under [checks] in study.toml).')


def check_fixations(
    table: Path, fixations: pd.DataFrame, width_px: FloatArray, height_px: FloatArray, meant: Collection[str]
) -> None:
    """Ask about units, times and positions of a table of fixations, as `fixation_table.read_fixation_csv` reads it.

    width_px, height_px: (n,), the size of the picture that each fixation is on.
    """
    fixations = fixations.assign(width_px=width_px, height_px=height_px)
    everybody = [(f"{table}", fixations)]
    everybody += [
        (f"{table}, participant {participant}", rows)
        for participant, rows in fixations.groupby("participant", sort=False)
        if len(rows) >= FEWEST
    ]
    for where, rows in everybody:
        _check_durations(where, rows, meant)
    for where, rows in everybody:
        _check_onsets(where, rows, meant)
    for where, rows in everybody:
        _check_positions(where, rows, meant)
    _check_single(table, fixations, meant)
    x, y = (fixations[name].to_numpy(np.float64) for name in ("x_px", "y_px"))
    _check_place(f"{table}: fixations", "their pictures", [(x, y, (0.0, 0.0, width_px, height_px))], meant)


def check_recording(recording: VendorRecording, messages: MessageSettings, meant: Collection[str]) -> None:
    """Ask about what the file's reader found odd, about jumps of its clock, and about two pictures shown at once."""
    for question in recording.questions:
        ask(question.what, question.sentence, meant)
    times, pauses_s = recording.samples["time_s"], recording.pauses_s
    for row in np.flatnonzero(np.diff(times) > LONGEST_GAP_S):
        last_s, next_s = times[row], times[row + 1]
        if not ((pauses_s >= last_s) & (pauses_s <= next_s)).any():
            ask(
                "time jump",
                f"{recording.file}: samples should follow each other, and after {last_s - times[0]:.6g} s "
                f"there is none for {next_s - last_s:.6g} s, without a word that the tracker was stopped: cut the file "
                "in two there if its clock was set anew",
                meant,
            )
    if "overlapping events" not in meant:
        _check_overlap(recording, messages)


def _check_overlap(recording: VendorRecording, settings: MessageSettings) -> None:
    """Ask where a picture's offset comes after the next one's onset: the messages say that both were shown at once."""
    on, replaced = "", dict[str, str]()  # the picture shown; pictures replaced before their offset, and by which one
    for message in recording.messages:
        if _first_match(settings.trial, message):
            on, replaced = "", {}
        if onset := _first_match(settings.onset, message):
            found = onset.groupdict().get("stim_file") or ""
            if on and found and found != on:
                replaced[on] = found
            on = found
            replaced.pop(on, None)
        elif _first_match(settings.offset, message):
            if on and _names(message, on):
                on = ""
                continue
            for name, by in replaced.items():
                if _names(message, name):
                    ask(
                        "overlapping events",
                        f"{message.place}: a picture should go before the next one comes, and "
                        f"{shortened(name)} goes here, after the onset of {shortened(by)}: correct these messages, or "
                        "onset and offset in [messages] of study.toml",
                        (),
                    )
            on = ""


def _first_match(expressions: Sequence[str], message: Message) -> re.Match[str] | None:
    return next((match for expression in expressions if (match := re.search(expression, message.says))), None)


def _names(message: Message, picture: str) -> bool:
    """Whether a message holds a picture's name, without its folders, as a whole word."""
    name = re.escape(PureWindowsPath(picture.strip("\"' ")).name)
    return re.search(rf"(?<!\w){name}(?!\w)", message.says, re.IGNORECASE) is not None


def check_gaze(
    recording: VendorRecording,
    screen_px: tuple[int, int],
    shown: Sequence[tuple[float, float, Rect]],
    meant: Collection[str],
    screen_cm: tuple[float | None, float | None] = (None, None),
) -> None:
    """Ask about a recording's gaze: its unit, whether it lies on the screen, and whether it begins with each picture.

    screen_px, screen_cm: width and height, None where unknown; shown: onset and end of each picture in seconds of the
    file's clock, and its place on the screen.
    """
    width_px, height_px = screen_px
    file, samples = recording.file, recording.samples
    _check_onsets_of_pictures(recording, shown, meant)
    eyes = [(samples[f"{eye}_x_px"], samples[f"{eye}_y_px"]) for eye in recording.eyes]
    x, y = (np.concatenate(values) for values in zip(*eyes, strict=True))
    seen = ~(np.isnan(x) | np.isnan(y))
    if not seen.any():
        return
    if recording.unit == "px" and _share_within(x[seen], y[seen], 1) >= IN_SHARES:
        ask(
            "position unit",
            f"{file}: gaze should be in px of a screen of {width_px} x {height_px}, and nearly all of "
            "it lies between 0 and 1: export it in px",
            meant,
        )
    if recording.unit == "share":
        far = float(np.median(np.maximum(np.abs(x[seen]), np.abs(y[seen]))))
        if far > FARTHEST_MEDIAN:
            ask(
                "position unit",
                f"{file}: gaze should be in shares of the screen, 0 to 1, and half of it lies "
                f"beyond {far:.4g}: export it in shares, as the tracker gives it",
                meant,
            )
        eyes = [(x * width_px, y * height_px) for x, y in eyes]
    screen = (0.0, 0.0, float(width_px), float(height_px))
    everywhere = [(x, y, screen) for x, y in eyes]
    _check_place(f"{file}: gaze", f"a screen of {width_px} x {height_px} px", everywhere, meant)
    on_pictures: list[tuple[FloatArray, FloatArray, Place]] = []
    for from_s, to_s, rect in shown:
        first, end = np.searchsorted(samples["time_s"], (from_s, to_s))
        on_pictures += [(x[first:end], y[first:end], astuple(rect)) for x, y in eyes]
    if recording.unit == "px":
        _check_millimetres(file, screen_cm, on_pictures, meant)
    # Beside a picture there may be more to look at: only an exchange is asked about.
    _check_place(f"{file}: gaze while a picture is shown", "it", on_pictures, meant, most=1.0)


def _check_onsets_of_pictures(
    recording: VendorRecording, shown: Sequence[tuple[float, float, Rect]], meant: Collection[str]
) -> None:
    times = recording.samples["time_s"]
    for number, (onset_s, _, _) in enumerate(shown, start=1):
        following = int(np.searchsorted(times, onset_s))
        late_s = float(times[following] - onset_s) if following < len(times) else 0.0
        if late_s > LATEST_SAMPLE_S:
            ask(
                "early onset",
                f"{recording.file}: samples should begin with a picture's onset, and after that of "
                f"picture {number} of {len(shown)} the first one comes {late_s:.4g} s later: correct the time of its "
                "message, or onset in [messages] of study.toml",
                meant,
            )


def _check_millimetres(
    file: Path,
    screen_cm: tuple[float | None, float | None],
    looks: Sequence[tuple[FloatArray, FloatArray, Place]],
    meant: Collection[str],
) -> None:
    """Ask where nearly all gaze at pictures lies within the screen's size in mm, and no picture's middle does."""
    width_cm, height_cm = screen_cm
    if width_cm is None or height_cm is None or not looks:
        return
    width_mm, height_mm = 10 * width_cm, 10 * height_cm
    x, y = (np.concatenate([look[axis] for look in looks]) for axis in (0, 1))
    seen = ~np.isnan(x + y)
    within = (x[seen] >= 0) & (x[seen] <= width_mm) & (y[seen] >= 0) & (y[seen] <= height_mm)
    middles = [(left + width / 2, top + height / 2) for _, _, (left, top, width, height) in looks]
    beyond = all(float(mid_x) > width_mm and float(mid_y) > height_mm for mid_x, mid_y in middles)
    if seen.sum() >= FEWEST_SAMPLES and within.mean() >= ALL_IN_MM and beyond:
        ask(
            "position unit",
            f"{file}: gaze should be in px, and nearly all of it lies within {width_mm:g} x "
            f"{height_mm:g}, the screen's size in mm, above and left of the middle of every picture: export it in px",
            meant,
        )


def _check_durations(where: str, rows: pd.DataFrame, meant: Collection[str]) -> None:
    median_ms = float(rows["duration_s"].median() * 1000)
    if SHORTEST_MEDIAN_MS <= median_ms <= LONGEST_MEDIAN_MS:
        return
    factors = {"seconds": 1000.0, "microseconds": 0.001}
    guess = [
        f" (as {unit} they would be usual)"
        for unit, factor in factors.items()
        if SHORTEST_MEDIAN_MS <= median_ms * factor <= LONGEST_MEDIAN_MS
    ]
    ask(
        "duration unit",
        f"{where}: duration_ms should be milliseconds, and the median fixation lasts {median_ms:.4g} "
        f"of them{''.join(guess)}: convert the column to milliseconds",
        meant,
    )


def _check_onsets(where: str, rows: pd.DataFrame, meant: Collection[str]) -> None:
    known = rows[rows["onset_s"].notna()].sort_values(["participant", "stimulus", "order"], kind="stable")
    if known.empty:
        return
    trials = known.groupby(["participant", "stimulus"], sort=False)
    first_s = float(trials["onset_s"].min().median())
    step_s = trials["onset_s"].diff().shift(-1).where(trials.cumcount(ascending=False) > 0)
    in_durations = float((step_s / known["duration_s"]).median())
    begin = f"{where}: onset_s should be seconds from the picture's onset"
    if in_durations > LONGEST_STEP:
        ask(
            "onset unit",
            f"{begin}, and from one fixation to the next pass {step_s.median():.4g} of them, "
            f"{in_durations:.3g} times as long as a fixation lasts: convert the column to seconds",
            meant,
        )
    if abs(first_s) > LATEST_FIRST_S:
        ask(
            "onset unit",
            f"{begin}, and in half of the trials the first fixation begins after {first_s:.6g} of them: "
            "count them from each picture's onset, in seconds",
            meant,
        )
    if in_durations < SHORTEST_STEP:
        ask(
            "overlapping events",
            f"{begin}, and most fixations begin long before the one before them ends "
            f"(one lasts {known['duration_s'].median():.4g} s, the next begins {step_s.median():.4g} s after it): "
            "convert the column to seconds, each fixation's own onset",
            meant,
        )
    back = step_s < 0
    if back.any():
        line, later = known["line"][back].iloc[0], known["line"].shift(-1)[back].iloc[0]
        ask(
            "overlapping events",
            f"{where}: a fixation should begin after the one before it, and that of line "
            f"{later:.0f} begins before that of line {line}: sort them by onset_s, and keep only the first time that "
            "a participant saw a picture",
            meant,
        )


def _check_single(table: Path, fixations: pd.DataFrame, meant: Collection[str]) -> None:
    """Ask about the first single cell that cannot be a fixation's duration, and the first that cannot be its onset."""
    duration_ms, onset_s = fixations["duration_s"] * 1000, fixations["onset_s"].abs()
    for row in np.flatnonzero((duration_ms < SHORTEST_MS) | (duration_ms > LONGEST_MS))[:1]:
        ask(
            "duration unit",
            f"{table}, line {fixations['line'].iloc[row]}, column duration_ms: a fixation should last "
            f"between {SHORTEST_MS:g} ms and a minute, and this one lasts {duration_ms.iloc[row]:g} ms: correct it, or "
            "remove the line",
            meant,
        )
    for row in np.flatnonzero(onset_s > LATEST_S)[:1]:
        ask(
            "onset unit",
            f"{table}, line {fixations['line'].iloc[row]}, column onset_s: a fixation should begin "
            f"within an hour of its picture's onset, and this one begins after {fixations['onset_s'].iloc[row]:g} s: "
            "correct it, or remove the line",
            meant,
        )


def _check_positions(where: str, rows: pd.DataFrame, meant: Collection[str]) -> None:
    x, y = (rows[name].to_numpy(np.float64) for name in ("x_px", "y_px"))
    smallest = float(rows[["width_px", "height_px"]].min().min())
    size = f"x_px and y_px should be px of pictures of {rows['width_px'].median():g} x {rows['height_px'].median():g}"
    for whole, smallest_px, fewest in ((1, 20, 1), (100, 600, 10)):
        if len(x) >= fewest and smallest >= smallest_px and _share_within(x, y, whole) >= IN_SHARES:
            ask(
                "position unit",
                f"{where}: {size}, and nearly all of them lie between 0 and {whole}: multiply shares "
                "of a picture by its width and height",
                meant,
            )


def _check_place(
    what: str,
    whole: str,
    looks: Sequence[tuple[FloatArray, FloatArray, Place]],
    meant: Collection[str],
    most: float = 0.5,
) -> None:
    """Ask where more than the share `most` of positions is off its place, or where exchanging x and y would mend that.

    looks: x and y, (n,) each in px, NaN where not seen, and the place that they should lie on.
    """
    seen = [(x[~np.isnan(x + y)], y[~np.isnan(x + y)], place) for x, y, place in looks]
    n = sum(len(x) for x, _, _ in seen)
    if n == 0:
        return
    off = sum(_n_off(x, y, place) for x, y, place in seen) / n
    exchanged = sum(_n_off(y, x, place) for x, y, place in seen) / n
    found = f"{what} should lie on {whole}, and {off:.0%} lie off it"
    if off > OFF_IF_EXCHANGED and exchanged <= off * OFF_IF_EXCHANGED:
        ask("mostly off the picture", f"{found}, {exchanged:.0%} if x and y are exchanged: exchange the two", meant)
    if off > most:
        ask("mostly off the picture", f"{found}: check the unit and the origin (upper left) of x and y", meant)


def _n_off(x: FloatArray, y: FloatArray, place: Place) -> int:
    left, top, width, height = place
    return int(((x < left) | (x >= left + width) | (y < top) | (y >= top + height)).sum())


def _share_within(x: FloatArray, y: FloatArray, whole: float) -> float:
    """The share of positions within 1.5 times `whole` of 0 in x and y; the margin allows for gaze off the picture."""
    return float(((np.abs(x) < 1.5 * whole) & (np.abs(y) < 1.5 * whole)).mean())
