"""The JSON files that describe gaze and events, also other people's: merged by BIDS inheritance, and checked once here.

A key of the wrong type or out of range is refused with an error that names file, key and value; all other code reads
typed fields. Keys that nothing reads are kept. `shared.tables` and `shared.dataset` read the tables themselves.
"""

from __future__ import annotations

from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from beholder.shared.errors import DataError
from beholder.shared.parsing import parse_json

T = TypeVar("T")
M = TypeVar("M", bound="_Sidecar")


def _if_given(value: Any) -> Any:
    return None if value == "n/a" else value


def _if_whole(value: Any) -> Any:
    # JSON has one kind of number: 1920.0 is a whole one too.
    return int(value) if isinstance(value, float) and value.is_integer() else value


OrNone = Annotated[T | None, BeforeValidator(_if_given)]  # null and n/a, BIDS's missing value, are None
Whole = Annotated[int, BeforeValidator(_if_whole)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Angle = Annotated[float, Field(ge=0, le=180)]  # degrees
Percent = Annotated[float, Field(ge=0, le=100)]


class _Sidecar(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)


class Timestamp(_Sidecar):
    """The column of timestamps; without a unit, the sampling rate tells it."""

    units: Literal["s", "ms", "us", "μs", "ns"] | None = Field(None, alias="Units")


class Coordinate(_Sidecar):
    """A column of positions, in pixels of the screen."""

    units: str | None = Field(None, alias="Units")

    @field_validator("units")
    @classmethod
    def _pixels(cls, units: str | None) -> str | None:
        if units not in (None, "pixel", "pixels", "px"):
            raise ValueError("convert it to pixels of the screen")
        return units


class EyeValidation(_Sidecar):
    """One eye in one validation: means over its targets, and the worst; None where it is not known.

    onset_s is in seconds from the first sample; overridden_by says who accepted a validation that did not pass.
    """

    onset_s: OrNone[float] = None
    passed: OrNone[bool] = None
    overridden_by: OrNone[str] = None
    accuracy_deg: OrNone[Angle] = None
    accuracy_worst_deg: OrNone[Angle] = None
    rms_s2s_deg: OrNone[Angle] = None
    sd_deg: OrNone[Angle] = None
    loss_percent: OrNone[Percent] = None
    effective_hz: OrNone[NotNegative] = None


class PhysioSidecar(_Sidecar):
    """The keys that describe one eye's gaze: those that BIDS requires, and those that Beholder adds."""

    rate_hz: float = Field(alias="SamplingFrequency", gt=0, le=1e6)
    columns: list[str] = Field(alias="Columns", min_length=1)
    eye: Literal["left", "right", "cyclopean"] = Field(alias="RecordedEye")
    timestamp: OrNone[Timestamp] = None
    x_coordinate: OrNone[Coordinate] = None
    y_coordinate: OrNone[Coordinate] = None
    manufacturer: OrNone[str] = Field(None, alias="Manufacturer")
    model: OrNone[str] = Field(None, alias="ManufacturersModelName")
    software: OrNone[str] = Field(None, alias="SoftwareVersions")
    simulated: OrNone[bool] = Field(None, alias="Simulated")
    imported: OrNone[bool] = Field(None, alias="Imported")
    calibrations: OrNone[Annotated[Whole, Field(ge=0)]] = Field(None, alias="CalibrationCount")
    validation: OrNone[EyeValidation] = Field(None, alias="Validation")
    validations: OrNone[list[EyeValidation]] = Field(None, alias="Validations")

    @field_validator("columns")
    @classmethod
    def _once(cls, columns: list[str]) -> list[str]:
        if len(set(columns)) < len(columns):
            raise ValueError("it must name each column once")
        return columns


class StimulusPresentation(_Sidecar):
    """The screen: lengths in metres, as BIDS has them; None where it is not known."""

    distance_m: OrNone[Positive] = Field(None, alias="ScreenDistance")
    size_m: OrNone[Annotated[list[Positive], Field(min_length=2, max_length=2)]] = Field(None, alias="ScreenSize")
    resolution_px: OrNone[Annotated[list[Annotated[Whole, Field(gt=0)]], Field(min_length=2, max_length=2)]] = Field(
        None, alias="ScreenResolution"
    )
    origin: OrNone[list[str]] = Field(None, alias="ScreenOrigin")


class PreflightCheck(_Sidecar):
    """One check of the computer or its screen before a session."""

    verdict: str
    what: str
    found: str = ""


class Preflight(_Sidecar):
    """The checks before a session, and the reason given for running it although something was unfit."""

    checks: list[PreflightCheck] = Field(default_factory=list)
    override: OrNone[str] = None


class EventsSidecar(_Sidecar):
    """The keys that describe a run's events; `settings` are the sections of study.toml that the session used."""

    presentation: OrNone[StimulusPresentation] = Field(None, alias="StimulusPresentation")
    settings: OrNone[dict[str, dict[str, Any]]] = Field(None, alias="Settings")
    preflight: OrNone[Preflight] = Field(None, alias="Preflight")


def physio_sidecar(path: Path) -> PhysioSidecar:
    """The checked JSON of a gaze file. Raises DataError, naming file and key, where a key is missing or invalid."""
    return _typed(path, PhysioSidecar)


def events_sidecar(path: Path) -> EventsSidecar:
    """The checked JSON of a table of events. Raises DataError as `physio_sidecar` does."""
    return _typed(path, EventsSidecar)


def entities(name: str) -> dict[str, str]:
    """The entities in a BIDS name.

    >>> entities("sub-01_task-viewing_events")
    {'sub': '01', 'task': 'viewing'}
    """
    return {key: value for key, _, value in (part.partition("-") for part in name.split("_")) if value}


def _typed(path: Path, model: type[M]) -> M:
    values, files = _merged(path)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
    key = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])[1:]
    if problem["type"] == "missing":
        raise DataError(f"{path}: its JSON file does not give {key}, which BIDS requires; add it.")
    file = files[str(problem["loc"][0])]
    found = "null" if problem["input"] is None else _SHORT.repr(problem["input"])
    raise DataError(f"{file}: {key} is {found}; {_rule(problem['type'], problem['msg'])}.")


_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_KINDS = {
    "float_type": "a number", "int_type": "a whole number", "int_from_float": "a whole number",
    "finite_number": "a finite number", "bool_type": "true or false", "string_type": "text", "list_type": "a list",
    "model_type": "an object",
}  # fmt: skip


def _rule(kind: str, text: str) -> str:
    """What a value must be, in words, from pydantic's name for the error and its text.

    >>> _rule("float_type", "Input should be a valid number"), _rule("greater_than", "Input should be greater than 0")
    ('it must be a number', 'it must be greater than 0')
    """
    if kind in _KINDS:
        return f"it must be {_KINDS[kind]}"
    if kind == "value_error":
        return text.removeprefix("Value error, ")
    return "it must" + text.removeprefix("Input").removeprefix("List").replace(" should", "", 1)


def _merged(path: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """The keys that describe a data file, inherited ones included, and the JSON file that each key comes from."""
    sidecars = sidecars_of(path)
    if not sidecars:
        raise DataError(f"{path} has no JSON file beside it: BIDS requires one that describes its columns.")
    values: dict[str, Any] = {}
    files: dict[str, Path] = {}
    for file in sidecars:
        described = _read_object(file)
        values.update(described)
        files.update(dict.fromkeys(described, file))
    return values, files


def sidecars_of(path: Path) -> list[Path]:
    """The JSON files that hold for a data file by BIDS' rule of inheritance, the one that overrules the others last."""
    stem, suffix = path.name.removesuffix(".gz").removesuffix(".tsv").rpartition("_")[::2]
    own = entities(stem).items()
    root = next((parent for parent in path.parents if (parent / "dataset_description.json").exists()), path.parent)
    folders = [folder for folder in path.parents if folder == root or root in folder.parents]
    found = []
    for folder in reversed(folders):
        for file in sorted(folder.glob(f"*{suffix}.json"), key=lambda file: len(file.name)):
            of_stem, of_suffix = file.name.removesuffix(".json").rpartition("_")[::2]
            if of_suffix == suffix and entities(of_stem).items() <= own:
                found.append(file)
    return found


def _read_object(file: Path) -> dict[str, Any]:
    try:
        values = parse_json(file.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as JSON ({error}): mend it.") from None
    if not isinstance(values, dict):
        raise DataError(f"{file} is {_SHORT.repr(values)}; it must be an object, keys and values in braces.")
    return values
