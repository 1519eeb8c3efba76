"""Does the inference hold what it claims? Studies whose truth is known, drawn at the level of the alignment table.

    python tests/benchmarks/bench_inference.py [--studies 2000] [--null-studies 300] [--workers 2] [--json FILE]

Each study has 30 participants, 20 pictures and 12 heads, and goes through the code that the report is made by:
`read_layer`, `two_way_bootstrap` and, for the published analysis, `anova`. A score is that of a participant p, gaze
on picture s, attention on picture t and head h; where s is t it is a match, else it is chance:

    participant (SD 1) + picture of gaze (1) + residual (1, of which the gaze's own part, the same for all t, 0.8)
    + head x participant (of which half the variance belongs to matches alone)
    + the attention map's own effect on t, with anybody's gaze
    + head x picture, where s is t; the same SD, drawn anew for each s and t, where they differ

so that chance is not drawn independently of the maps: it is the mean of the same participant's scores over t. Cases:

    picture 0, 0.3, 1     head x picture of that SD, head x participant of 0.3, no head differs from another
    unequal pictures      the same with head x picture of SD 1.5 for two heads and 0.3 for the others
    unequal both          head x participant of these SDs as well
    two, three factors    heads' effects of pictures (SD 1) and of participants (0.3) follow so many common factors
    common 0.5            as picture 0, but participants and pictures of SD 0.5
    planted 0.1 to 0.5    head x picture of SD 0.3, and head 1 closer to people by so many residual SDs where s is t
    map 0.4, 1, 2.25      head x picture of SD 0.3, the map's own effect of that SD, head 1 closer by 0.25
    map against match     the map's own effect, of SD 0.6, is taken from the match: what suits anybody's gaze gains less

Seeds were fixed before the first run: study k of case c (counted from 0, in the order above) draws from
SeedSequence((20263, c, k)), the loadings of the factors from SeedSequence((20262, factors)). The rates are those of
these studies; their Monte-Carlo error stands beside. Exits 1 where a claim fails:

    sound        the quasi-F of scores rejects no head effect at .05 in 3 to 7 % of studies, of gains in at most 7 %
    family       simultaneous pairs: some pair is declared different in at most 7 %
    coverage     95 % intervals of a head's mean and a difference of two heads hold the truth in 93 % or more
    gain         95 % intervals of a head's gain over chance hold it in 93 to 97 %, and its test errs in 3 to 7 %
    power        the test of a planted gain rejects as often as one with as many degrees of freedom whose standard error
                 is on average the gain's SD over the case's studies, within 2 % of studies; beside it the z test that
                 knows this SD
    ties         the closest head and those not distinguishable from it hold the truly closest in at least 93 %
    warning      the published ANOVA rejects as often as the report's warning says, within four Monte-Carlo errors
    sentence     where heads differ in nothing but chance, in 1 layer of 12 heads, 12 of 12 and 24 of 16, the first
                 sentence says in at most 7 % of studies that the head it names is closer than chance; beside it how
                 often Holm's p within that head's layer would have said so

With fewer than 2,000 studies (300 for the sentence) the limits are wider by three times what the Monte-Carlo error is
larger. Coverage beyond 95 % is conservatism, and reported as it is; so are the bootstrap's, and power.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy import stats
from threadpoolctl import threadpool_limits

from beholder.analysis.findings.above_chance import Match, chance_tests
from beholder.analysis.findings.choice import name_head
from beholder.analysis.findings.layer import read_layer
from beholder.analysis.findings.readings import LayerReading
from beholder.analysis.findings.score_arrays import FixedSigma, ScoreArray, attention_effect
from beholder.analysis.results.map_names import SHUFFLED, head_name
from beholder.analysis.statistics.crossed import Estimate, crossed_interval, two_way_bootstrap
from beholder.analysis.statistics.oneway import anova
from beholder.shared.arrays import FloatArray

SEED, LOADINGS_SEED, NULL_SEED = 20263, 20262, 20264
PARTICIPANTS, PICTURES, HEADS = 30, 20, 12
SIGMAS = 40  # of the published sweep, where they are taken as replicates
STUDIES_PER_TASK = 20
FULL, FULL_NULL = 2000, 300  # studies a case, and without any gain, for which the limits are meant
LAYOUTS = ((1, 12), (12, 12), (24, 16))  # layers and heads of studies without any gain
UNEQUAL = (1.5, 1.5, *[0.3] * (HEADS - 2))
# What the report's warning says of the published ANOVA; it calls 99.8 % nearly all.
WARNED = {"picture 0": 0.04, "picture 0.3": 0.45, "picture 1": 0.998, "common 0.5": 0.45}


@dataclass(frozen=True)
class Case:
    """How heads vary over participants and over pictures: an SD a head, or `factors` common to them; what is planted.

    `by_participant` and `by_picture` are SDs of all heads' effects together where they follow factors. `common` is the
    SD over participants, and over pictures, of what all heads share; `map` the SD of the attention maps' own effects,
    of which the share `against` is taken from the match.
    """

    name: str
    by_participant: tuple[float, ...]
    by_picture: tuple[float, ...]
    factors: int = 0
    common: float = 1.0
    planted: float = 0.0
    map: float = 0.0
    against: float = 0.0


def even(sd: float) -> tuple[float, ...]:
    return (sd,) * HEADS


CASES = (
    Case("picture 0", even(0.3), even(0.0)),
    Case("picture 0.3", even(0.3), even(0.3)),
    Case("picture 1", even(0.3), even(1.0)),
    Case("unequal pictures", even(0.3), UNEQUAL),
    Case("unequal both", UNEQUAL, UNEQUAL),
    Case("two factors", even(0.3), even(1.0), factors=2),
    Case("three factors", even(0.3), even(1.0), factors=3),
    Case("common 0.5", even(0.3), even(0.0), common=0.5),
    *(Case(f"planted {size}", even(0.3), even(0.3), planted=size) for size in (0.1, 0.2, 0.3, 0.5)),
    *(Case(f"map {size:g}", even(0.3), even(0.3), planted=0.25, map=size) for size in (0.4, 1.0, 2.25)),
    Case("map against match", even(0.3), even(0.3), planted=0.25, map=0.6, against=1.0),
)


def draw(case: Case, rng: np.random.Generator) -> FloatArray:
    """Scores (participants, pictures of gaze, pictures of attention, heads); higher is closer."""

    def by_head(n: int, sds: tuple[float, ...]) -> FloatArray:
        if not case.factors:
            return rng.normal(0, 1, (n, HEADS)) * np.array(sds)
        loadings = np.random.default_rng(np.random.SeedSequence((LOADINGS_SEED, case.factors)))
        weights = loadings.normal(0, 1, (case.factors, HEADS))
        weights /= np.sqrt((weights**2).sum(axis=0).mean())
        followed: FloatArray = rng.normal(0, 1, (n, case.factors)) @ weights * np.array(sds)
        return followed

    p, s, h = PARTICIPANTS, PICTURES, HEADS
    of_map = rng.normal(0, 1, (s, h)) * case.map
    scores = rng.normal(0, case.common, (p, 1, 1, 1)) + rng.normal(0, case.common, (1, s, 1, 1))
    scores = scores + rng.normal(0, 0.8, (p, s, 1, h)) + 0.6 * rng.standard_normal((p, s, s, h))
    scores += np.sqrt(0.5) * by_head(p, case.by_participant)[:, None, None] + of_map
    scores += by_head(s * s, case.by_picture).reshape(s, s, h)
    match = np.sqrt(0.5) * by_head(p, case.by_participant)[:, None] - case.against * of_map
    match[:, :, 0] += case.planted
    scores[:, np.arange(s), np.arange(s)] += match
    return scores


def fixed(scores: FloatArray) -> FixedSigma:
    """Scores as the analysis reads them: matches, means over other pictures, and the attention maps' own effects."""
    n_p, n_s, _, n_h = scores.shape
    match = np.einsum("pssh->psh", scores)
    chance = (scores.sum(axis=2) - match) / (n_s - 1)
    square = scores.mean(axis=0)
    names = [head_name(h + 1) for h in range(n_h)]
    cells = ScoreArray(
        scores=np.concatenate([match, chance], axis=2)[..., None],
        participants=tuple(f"{p:02d}" for p in range(n_p)),
        pictures=tuple(f"{s:02d}" for s in range(n_s)),
        maps=(*names, *(SHUFFLED + name for name in names)),
        sigmas=(1.0,),
    )
    return FixedSigma(
        cells, attention={SHUFFLED + name: attention_effect(square[..., h]) for h, name in enumerate(names)}
    )


def study(case: Case, rng: np.random.Generator) -> dict[str, float]:
    """What one study says, each answer 0 or 1, or a share of several intervals; `gain mean`, `gain df` as they are."""
    every = draw(case, rng)
    at = fixed(every)
    scores = at.cells.scores[:, :, :HEADS, 0]
    truth = np.array([case.planted, *[0.0] * (HEADS - 1)])
    names = at.cells.maps[:HEADS]
    # CC, as the measure whose higher values are closer; what the numbers are drawn from has no measure.
    sound, _ = read_layer(at, "m", 12, "cc", 1.0, "deg", primary=True)
    differences = [crossed_interval(scores[:, :, 0] - scores[:, :, h]) for h in range(1, HEADS)]
    everything = np.ix_(range(PARTICIPANTS), range(PICTURES))
    gain = scores[:, :, 0] - at.chance(SHUFFLED + names[0], 1.0, everything)
    bootstrap = two_way_bootstrap(np.stack([scores[:, :, 0], gain], axis=2), rng)
    published = anova([scores[:, :, h].ravel() for h in range(HEADS)])
    # Every score once for each sigma: mean squares between heads grow by so many, those within stay.
    within = SIGMAS * PARTICIPANTS * PICTURES * HEADS - HEADS
    replicated = published.f * within / published.df2
    assert sound.head_effect is not None and sound.gain_effect is not None
    planted = sound.heads[0]
    gains = [h.gain for h in sound.heads if h.gain is not None]
    assert planted.gain is not None and planted.gain.df is not None and planted.gain.p is not None
    return {
        "sound": sound.head_effect.p < 0.05,
        "gains differ": sound.gain_effect.p < 0.05,
        "gain errs": share(wrong(g) for g in gains[1:]),
        "gain found": planted.gain.p < 0.05,
        "gain mean": planted.gain.mean,
        "gain df": planted.gain.df,
        "published": published.p < 0.05,
        "sigmas": float(stats.f.sf(replicated, HEADS - 1, within)) < 0.05,
        "family": any(c.p < 0.05 for c in sound.contrasts),
        "mean": share(holds(h.value, t) for h, t in zip(sound.heads, truth, strict=True)),
        "gain": share(holds(h.gain, t) for h, t in zip(sound.heads, truth, strict=True)),
        "difference": share(holds(d, case.planted) for d in differences),
        "bootstrap mean": holds(bootstrap[0], case.planted),
        "bootstrap gain": holds(bootstrap[1], case.planted),
        "ties": names[0] in (sound.ranked[0], *sound.ties),
        "named alone": sound.ranked[0] == names[0] and not sound.ties,
        "above chance": planted.gain_p_holm is not None and planted.gain_p_holm < 0.05,
    }


def holds(interval: object, truth: float) -> bool:
    """Whether an estimate's interval, or a pair of limits, has the truth in it."""
    low, high = interval if isinstance(interval, tuple) else (interval.low, interval.high)  # type: ignore[attr-defined]
    return bool(low <= truth <= high)


def wrong(gain: Estimate) -> bool:
    """Whether a gain that is none is declared one."""
    return gain.p is not None and gain.p < 0.05


def share(answers: Iterator[bool]) -> float:
    return float(np.mean(list(answers)))


def studies(case: int, numbers: range) -> list[dict[str, float]]:
    """Some studies of a case, by their numbers."""
    with threadpool_limits(1):
        return [
            study(CASES[case], np.random.default_rng(np.random.SeedSequence((SEED, case, number))))
            for number in numbers
        ]


def null_study(layers: int, heads: int, rng: np.random.Generator) -> dict[str, float]:
    """Whether the first sentence claims a gain where there is none; by permuted pictures, and by Holm's p in a layer.

    Heads do not differ, and attention maps have no effects of their own: then the closest head is the one that chance
    gave the largest gain, which is where choosing it misleads most.
    """
    p, s = PARTICIPANTS, PICTURES
    common = rng.normal(0, 1, (p, 1, 1, 1)) + rng.normal(0, 1, (1, s, 1, 1))
    readings: list[LayerReading] = []
    matches: dict[tuple[str, int], Match] = {}
    for layer in range(1, layers + 1):
        scores = common + rng.normal(0, 0.3, (p, 1, 1, heads)) + rng.normal(0, 0.3, (s, s, heads))
        scores = scores + rng.normal(0, 0.8, (p, s, 1, heads)) + 0.6 * rng.standard_normal((p, s, s, heads))
        at = fixed(scores)
        readings.append(read_layer(at, "m", layer, "cc", 1.0, "deg", primary=True)[0])
        pairs = pd.MultiIndex.from_product([at.cells.pictures, at.cells.pictures])
        square = pd.DataFrame(scores.mean(axis=0).reshape(s * s, heads), pairs, list(at.cells.maps[:heads]))
        matches["m", layer] = Match(square, p)
    _, p_values = chance_tests(matches, "cc", int(rng.integers(2**31)))
    reading, name = name_head(readings, {})
    gain, holm = reading.head(name).gain, reading.head(name).gain_p_holm
    assert gain is not None and gain.low is not None and holm is not None
    return {
        "by permuted pictures": gain.mean > 0 and p_values["m", reading.layer, name] < 0.05,
        "by Holm within the layer": gain.low > 0 and holm < 0.05,
    }


def null_studies(layout: int, numbers: range) -> list[dict[str, float]]:
    """Some studies of a layout, by their numbers."""
    with threadpool_limits(1):
        return [
            null_study(*LAYOUTS[layout], np.random.default_rng(np.random.SeedSequence((NULL_SEED, layout, number))))
            for number in numbers
        ]


@dataclass(frozen=True)
class Rate:
    """How often, and its Monte-Carlo error: the SD over studies over the root of their number."""

    rate: float
    error: float

    def __str__(self) -> str:
        return f"{100 * self.rate:.1f} ± {100 * self.error:.1f}"


def rate(answers: list[float]) -> Rate:
    values = np.asarray(answers, dtype=np.float64)
    return Rate(float(values.mean()), float(values.std() / np.sqrt(len(values))))


@dataclass(frozen=True)
class Claim:
    """What must hold of one rate of one case."""

    case: str
    what: str
    found: Rate
    low: float
    high: float

    @property
    def holds(self) -> bool:
        return self.low <= self.found.rate <= self.high

    def __str__(self) -> str:
        limits = f"{100 * self.low:.1f} to {100 * self.high:.1f} %"
        return f"{self.case}, {self.what}: {self.found} %, claimed {limits}"


def known_variance(rows: list[dict[str, float]], planted: float) -> dict[str, Rate]:
    """How often a planted gain would be found if its variance were known: by a z test, and by a t test of as many df.

    The variance is that of the gain over the studies, about the planted one. The t test has the power of the noncentral
    t, which is what estimating a variance with so many degrees of freedom leaves of the z test's. Their errors are what
    the error of an SD of so many studies, 1 / sqrt(2 n) of it, makes of them.
    """
    mean, df = (np.array([row[what] for row in rows]) for what in ("gain mean", "gain df"))
    away, df_mean = planted / float(np.sqrt(((mean - planted) ** 2).mean())), float(df.mean())
    z, t = stats.norm.ppf(0.975), stats.t.ppf(0.975, df_mean)

    def power(far: float) -> FloatArray:
        by_z = stats.norm.sf(z - far) + stats.norm.cdf(-z - far)
        return np.array([by_z, stats.nct.sf(t, df_mean, far) + stats.nct.cdf(-t, df_mean, far)])

    rates, farther = power(away), power(away * (1 + (2 * len(rows)) ** -0.5))
    return {
        name: Rate(float(rate), float(abs(more - rate)))
        for name, rate, more in zip(("known, z", "known, t"), rates, farther, strict=True)
    }


def claims(
    found: dict[str, dict[str, Rate]], sentences: dict[str, dict[str, Rate]], n_studies: int, n_null: int
) -> list[Claim]:
    """All that is claimed, with limits for so many studies."""

    def claim(rate: Rate, case: str, what: str, low: float, high: float, n: int, full: int) -> Claim:
        def slack(limit: float) -> float:
            return 3 * float(np.sqrt(max(0.0, limit * (1 - limit)))) * max(0.0, n**-0.5 - full**-0.5)

        return Claim(case, what, rate, low - slack(low), high + slack(high))

    def of_case(what: str, low: float, high: float) -> Claim:
        return claim(found[case.name][what], case.name, what, low, high, n_studies, FULL)

    every = []
    for case in CASES:
        every += [of_case(what, 0.93, 1.0) for what in ("mean", "difference")]
        every += [of_case("gain", 0.93, 0.97), of_case("gain errs", 0.03, 0.07)]
        if case.planted:
            every.append(of_case("ties", 0.93, 1.0))
            ours, known = found[case.name]["gain found"], found[case.name]["known, t"]
            wider = 0.02 + 3 * float(np.hypot(ours.error, known.error)) * max(0.0, 1 - (n_studies / FULL) ** 0.5)
            every.append(Claim(case.name, "gain found", ours, known.rate - wider, known.rate + wider))
        else:
            every += [of_case("sound", 0.03, 0.07), of_case("gains differ", 0.0, 0.07), of_case("family", 0.0, 0.07)]
        if case.name in WARNED:
            told = WARNED[case.name]
            # The warning's numbers are whole per cent, of 2,000 studies themselves.
            margin = 4 * float(np.sqrt(told * (1 - told) * (1 / n_studies + 1 / FULL))) + 0.005
            every.append(Claim(case.name, "published", found[case.name]["published"], told - margin, told + margin))
    for layout, rates in sentences.items():
        what = "by permuted pictures"
        every.append(claim(rates[what], layout, what, 0.0, 0.07, n_null, FULL_NULL))
    return every


COLUMNS = {
    "rejects at .05 (%)": ("sound", "gains differ", "gain errs", "published", "sigmas", "family"),
    "95 % interval holds the truth (%)": ("mean", "gain", "difference", "bootstrap mean", "bootstrap gain"),
}
POWER = ("sound", "named alone", "gain found", "known, t", "known, z", "above chance", "ties")


def show(found: dict[str, dict[str, Rate]], sentences: dict[str, dict[str, Rate]], console: Console) -> None:
    for title, columns in COLUMNS.items():
        table = Table(title=f"{title}, Monte-Carlo error beside")
        for heading in ("case", *columns):
            table.add_column(heading, justify="left" if heading == "case" else "right")
        for case in CASES:
            if not case.planted or "mean" in columns:
                table.add_row(case.name, *(str(found[case.name][c]) for c in columns))
        console.print(table)
    table = Table(title="a planted head is found (%)")
    for heading in ("case", *POWER):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for case in CASES:
        if case.planted:
            table.add_row(case.name, *(str(found[case.name][c]) for c in POWER))
    console.print(table)
    console.print(
        "sound: the head effect by quasi-F. published: one-way ANOVA, participants and pictures as replicates; sigmas: "
        "the sweep's sigmas too. family: some simultaneous pair. named alone: the planted head is the closest, and no "
        "other is tied with it. gain found: its gain, uncorrected; known: by tests that know its variance. "
        "above chance: its gain, corrected over heads. ties: it is among those that cannot be told from the closest."
    )
    table = Table(title="the first sentence claims a gain where there is none (%)")
    for heading in ("study", "by permuted pictures", "by Holm within the layer"):
        table.add_column(heading, justify="left" if heading == "study" else "right")
    for layout, rates in sentences.items():
        table.add_row(layout, *(str(rate) for rate in rates.values()))
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=FULL, help="studies a case")
    parser.add_argument("--null-studies", type=int, default=FULL_NULL, help="studies without any gain a layout")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of one thread each")
    parser.add_argument("--json", type=Path, help="write the rates and claims to this file too")
    options = parser.parse_args()
    console = Console()
    tasks = [
        (task, number, range(first, min(first + STUDIES_PER_TASK, n)))
        for task, several, n in ((null_studies, LAYOUTS, options.null_studies), (studies, CASES, options.studies))
        for number in range(len(several))
        for first in range(0, n, STUDIES_PER_TASK)
    ]
    answers: dict[tuple[bool, int], dict[int, list[dict[str, float]]]] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=context) as pool, Progress(console=console) as progress:
        bar = progress.add_task(f"{options.studies} studies of {len(CASES)} cases", total=len(tasks))
        running = {
            pool.submit(task, number, some): (task is studies, number, some.start) for task, number, some in tasks
        }
        for done in as_completed(running):
            of_case, number, first = running[done]
            answers.setdefault((of_case, number), {})[first] = done.result()
            progress.advance(bar)
    rows = {key: [row for first in sorted(parts) for row in parts[first]] for key, parts in answers.items()}
    found = {}
    for number, case in enumerate(CASES):
        own = rows[True, number]
        found[case.name] = {what: rate([row[what] for row in own]) for what in own[0]}
        found[case.name] |= known_variance(own, case.planted)
    sentences = {
        f"{layers} x {heads}": {
            what: rate([row[what] for row in rows[False, number]]) for what in rows[False, number][0]
        }
        for number, (layers, heads) in enumerate(LAYOUTS)
    }
    show(found, sentences, console)
    every = claims(found, sentences, options.studies, options.null_studies)
    failed = [c for c in every if not c.holds]
    if options.json:
        figures = {
            "studies": options.studies, "null studies": options.null_studies,
            "rates": {c: {w: [r.rate, r.error] for w, r in rates.items()} for c, rates in (found | sentences).items()},
            "claims": [{"claim": str(c), "holds": c.holds} for c in every],
        }  # fmt: skip
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    console.print(f"{len(every) - len(failed)} of {len(every)} claims hold.")
    for claim in failed:
        console.print(f"[red]fails:[/red] {claim}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
