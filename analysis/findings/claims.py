"""What a paper claims, read from a file that `claims` in study.toml names; docs/claims.md says how to write one.

    [paper]       who, what, when; its model, so that heads with the same number are only compared where they are the
                  same head; what could not be learnt about it
    [[claims]]    a statement in words, the paper's numbers, and `how` a study's own figure for it is computed

The kinds of `how` are a closed set, so that a file needs no program. What a claim is worth in a study is judged in
reproduction.py, and put into words in report/prose/claims.py.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from beholder.shared.errors import StudyError
from beholder.shared.study import Measure, SigmaUnit, Study

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHIPPED = Path(__file__).resolve().parent / "papers"
SUFFIX = ".toml"
Value = bool | int | float | str


class _Part(BaseModel):
    """A part of a file of claims: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Paper(_Part):
    """The paper. `authors` are family names; `not_known` are sentences for the reader.

    `models` are names in timm that the paper's model may have: in other weights a head's number means another head.
    Empty: heads are compared by their numbers whatever the model. `layer` counts from 1; left out, it is not known, and
    the layer that the report shows is taken.
    """

    authors: list[str] = Field(min_length=1)
    title: str = Field(min_length=1)
    year: int = Field(ge=1600, le=9999)
    doi: str = ""
    published: str = ""
    models: list[str] = []
    heads: int | None = Field(None, ge=1)
    layer: int | None = Field(None, ge=1)
    not_known: list[str] = []

    @property
    def label(self) -> str:
        """The paper as a text cites it.

        >>> Paper(authors=["Clark"], title="A title", year=1973).label
        'Clark (1973)'
        >>> Paper(authors=["Baayen", "Davidson", "Bates"], title="A title", year=2008).label
        'Baayen et al. (2008)'
        """
        names = " and ".join(self.authors) if len(self.authors) < 3 else f"{self.authors[0]} et al."
        return f"{names} ({self.year})"


class _Claim(_Part):
    """What every claim has: an id that is unique in the file, and what it says in words."""

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    statement: str = Field(min_length=1)


class _ByMeasure(_Claim):
    """A claim that is checked by each of `measures`."""

    measures: list[Measure] = Field(min_length=1)

    @field_validator("measures")
    @classmethod
    def _once(cls, measures: list[Measure]) -> list[Measure]:
        if len(set(measures)) < len(measures):
            raise ValueError("a measure is named twice")
        return measures


def _each_once(heads: list[int]) -> list[int]:
    if len(set(heads)) < len(heads):
        raise ValueError("a head is named twice")
    return heads


HeadNumber = Annotated[int, Field(ge=1)]
HeadNumbers = Annotated[list[HeadNumber], Field(min_length=1), AfterValidator(_each_once)]


class Count(_Claim):
    """How many participants, pictures or evaluations (scores over heads, sigmas and measures) there were."""

    how: Literal["participants", "pictures", "evaluations"]
    number: int = Field(ge=1)


class Model(_Claim):
    """That the model is the one of [paper], by its `models` and `heads`."""

    how: Literal["model"]


class Sweep(_Claim):
    """The sweep of sigma. Without `unit` its unit is not known, and taken to be the study's."""

    how: Literal["sweep"]
    first: float = Field(gt=0)
    last: float = Field(gt=0)
    step: float = Field(gt=0)
    unit: SigmaUnit | None = None


class MeasuresUsed(_ByMeasure):
    """Which measures were computed."""

    how: Literal["measures"]


class Setting(_Claim):
    """The value of the setting that study.toml calls `key`, such as "protocol.picture_s"."""

    how: Literal["setting"]
    key: str
    value: Value

    @field_validator("key")
    @classmethod
    def _known(cls, key: str) -> str:
        section, _, name = key.partition(".")
        field = Study.model_fields.get(section)
        sections = [kind for kind in _classes(field.annotation) if name in kind.model_fields] if field else []
        if not sections:
            raise ValueError("study.toml has no such setting; name one as section.key")
        return key


class BestSigma(_ByMeasure):
    """The sigma at which the measure is best, with its standard error where the paper has one."""

    how: Literal["best_sigma"]
    sigma: float = Field(gt=0)
    se: float = Field(0.0, ge=0)
    unit: SigmaUnit | None = None


class HeadsDiffer(_ByMeasure):
    """That heads differ by an ANOVA, with p at most `p`; its degrees of freedom and F where they are known."""

    how: Literal["anova"]
    p: float = Field(0.05, gt=0, lt=1)
    df1: int | None = Field(None, ge=1)
    df2: int | None = Field(None, ge=1)
    f: float | None = Field(None, ge=0)


class Extreme(_ByMeasure):
    """Which heads are the closest to people, or the farthest; `p` of each pair with the others, if tested."""

    how: Literal["closest_heads", "farthest_heads"]
    heads: HeadNumbers
    p: float | None = Field(None, gt=0, lt=1)


class HeadMean(_ByMeasure):
    """The mean score of a head, with its standard error and the sigma it was taken at where the paper has them."""

    how: Literal["head_mean"]
    head: HeadNumber
    mean: float
    se: float = Field(0.0, ge=0)
    sigma: float | None = Field(None, gt=0)
    unit: SigmaUnit | None = None


class LiftRange(_Claim):
    """The lift of each of `heads`, in percentage points from `low_pp` to `high_pp`, with p at most `p`."""

    how: Literal["lift"]
    heads: HeadNumbers
    low_pp: float = Field(ge=-100, le=100)
    high_pp: float = Field(100.0, ge=-100, le=100)
    p: float | None = Field(None, gt=0, lt=1)

    @model_validator(mode="after")
    def _range(self) -> LiftRange:
        if self.high_pp <= self.low_pp:
            raise ValueError(f"high_pp ({self.high_pp:g}) must be above low_pp ({self.low_pp:g})")
        return self


class Inside(_Claim):
    """That every head has more attention inside the object than outside, with p at most `p` each."""

    how: Literal["inside_over_outside"]
    p: float = Field(0.05, gt=0, lt=1)


class Concordance(_ByMeasure):
    """How far measures order heads alike: Kendall's W, `at_least` where the paper has a figure."""

    how: Literal["kendall_w"]
    measures: list[Measure] = Field(min_length=2)
    at_least: float | None = Field(None, ge=0, le=1)


Claim = (
    Count
    | Model
    | Sweep
    | MeasuresUsed
    | Setting
    | BestSigma
    | HeadsDiffer
    | Extreme
    | HeadMean
    | LiftRange
    | Inside
    | Concordance
)


class Claims(_Part):
    """A file of claims."""

    paper: Paper
    claims: list[Annotated[Claim, Field(discriminator="how")]] = Field(min_length=1)

    @model_validator(mode="after")
    def _named_once(self) -> Claims:
        names = [claim.id for claim in self.claims]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f'two claims have the id "{twice}"')
        if self.paper.heads is not None:
            for claim in self.claims:
                beyond = [head for head in heads_of(claim) if head > self.paper.heads]
                if beyond:
                    raise ValueError(f'"{claim.id}" names head {beyond[0]}, and paper.heads is {self.paper.heads}')
        return self


@dataclass(frozen=True)
class ClaimsFile:
    """A file of claims that was read; `name` is short and can be part of a file's name."""

    name: str
    path: Path
    content: Claims


def heads_of(claim: Claim) -> tuple[int, ...]:
    """The heads that a claim speaks of by their number, counted from 1."""
    if isinstance(claim, Extreme | LiftRange):
        return tuple(claim.heads)
    return (claim.head,) if isinstance(claim, HeadMean) else ()


def shipped() -> tuple[str, ...]:
    """The papers whose claims come with Beholder, by name."""
    return tuple(sorted(path.stem for path in SHIPPED.glob(f"*{SUFFIX}")))


def claims_files(study_folder: Path, names: Sequence[str]) -> tuple[ClaimsFile, ...]:
    """The files of claims that a study names: those that come with Beholder, or .toml files in its folder.

    Raises StudyError where there is no such file, where two have the same name, or where one breaks a rule; the message
    names file, claim, key, rule and value.
    """
    found: dict[str, ClaimsFile] = {}
    for name in names:
        own = name.endswith(SUFFIX)
        path = study_folder / name if own else SHIPPED / f"{name}{SUFFIX}"
        if not own and name not in shipped():
            raise StudyError(
                f'{study_folder / "study.toml"}: alignment.claims: no claims called "{name}" come with Beholder '
                f'(there are {", ".join(shipped())}); a file of your own ends in "{SUFFIX}".'
            )
        short = re.sub(r"[^A-Za-z0-9]+", "-", path.stem).strip("-").lower() or "claims"
        if short in found:
            raise StudyError(
                f'{study_folder / "study.toml"}: alignment.claims: two files are called "{short}": rename one.'
            )
        found[short] = ClaimsFile(short, path, read_claims(path))
    return tuple(found.values())


def read_claims(path: Path) -> Claims:
    """The claims of one file. Raises StudyError as `claims_files` does."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path} does not exist: put it there, or mend alignment.claims in study.toml.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} cannot be read ({error}): mend its permissions or its encoding (UTF-8).") from None
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{path} is not valid TOML: {error}; mend that line.") from None
    try:
        return Claims.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise StudyError(f"{path}: {_first_problem(error, values)}") from None
    except (TypeError, ValueError) as error:
        raise StudyError(f"{path}: {error}; use text in quotes, numbers and true or false only.") from None


def _classes(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's annotation names: itself, or the members of a union."""
    kinds = getattr(annotation, "__args__", (annotation,))
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _first_problem(error: ValidationError, values: dict[str, Any]) -> str:
    """The first rule that is broken, with its place: the claim by its id, or by its number if it has none."""
    problem = error.errors(include_url=False)[0]
    loc = list(problem["loc"])
    if loc[:1] == ["claims"]:
        del loc[2:3]  # the kind of the claim, which is no key of the file
    where: list[str] = []
    value: Any = values
    for part in loc:
        if isinstance(value, list) and isinstance(part, int):
            value = value[part]
            named = value.get("id") if isinstance(value, dict) else None
            where.append(f' "{named}"' if isinstance(named, str) else f" {part + 1}")
        elif isinstance(value, dict) and (part in value or problem["type"] == "missing"):
            value = value.get(part)
            where.append(f", {part}" if where else str(part))
    place = "".join(where) or "the file"
    match problem["type"]:
        case "extra_forbidden":
            return f"{place}: there is no such key; check its spelling, or remove it."
        case "missing":
            return f"{place} is missing; add it."
        case "union_tag_not_found":
            return f"{place}, how is missing; say how the claim is computed ({_kinds()})."
        case "union_tag_invalid":
            return f'{place}, how: must be one of {_kinds()}; "{value.get("how")}" is not allowed.'
    rule = re.sub(r"^(Value error|Assertion failed), ", "", problem["msg"])
    shown = "" if isinstance(value, dict) else f"; {value!r} is not allowed"
    return f"{place}: {rule[0].lower() + rule[1:]}{shown}."


def _kinds() -> str:
    return ", ".join(kind for of in Claim.__args__ for kind in of.model_fields["how"].annotation.__args__)
