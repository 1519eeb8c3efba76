"""The batched sweep against the measures in float64, one pair at a time, and against planted truths."""

import hashlib
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from beholder.analysis.alignment import sweep
from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.alignment.sweep import MODELS_PER_BLOCK, SIGMAS_PER_BLOCK, align
from beholder.analysis.gaze.maps import Grid, area_resample, fixation_map, smooth
from beholder.analysis.gaze.picture_gaze import Fixations
from beholder.shared.arrays import FloatArray
from beholder.shared.study import Smooth

# As the module's docstring states them.
FLOAT32_ERROR = {"kl": 2e-5, "cc": 5e-6, "sim": 5e-7, "ssim": 5e-6}
NAMES = tuple(FLOAT32_ERROR)


def gaze(rng: np.random.Generator, grid: Grid, n: int) -> Fixations:
    """One participant's n fixations anywhere on the picture, durations as weights."""
    return Fixations(rng.random(n) * grid.width, rng.random(n) * grid.height, rng.lognormal(-1.4, 0.5, n))


def attention(rng: np.random.Generator, grid: Grid, n: int, patch_px: int = 16) -> FloatArray:
    """Maps as heads give them: patches of very unequal mass; (n, height, width)."""
    patches = rng.gamma(0.3, size=(n, -(-grid.height // patch_px), -(-grid.width // patch_px))) + 1e-6
    return area_resample(patches, grid.height, grid.width)


def degenerate(rng: np.random.Generator, grid: Grid) -> FloatArray:
    """Maps on which measures are known to break: flat, a single px, no support in a half, next to nothing anywhere."""
    maps = np.zeros((5, *grid.shape))
    maps[0] = 0.3
    maps[1, rng.integers(grid.height), rng.integers(grid.width)] = 1
    maps[2, :, : grid.width // 2] = rng.random((grid.height, grid.width // 2)) + 1e-3
    maps[3] = maps[1] + 1e-9
    maps[4] = 1 + 1e-3 * rng.random(grid.shape)
    return maps


def one_by_one(
    people: list[Fixations], models: FloatArray, sigmas_px: list[float], smoothed: str
) -> dict[str, FloatArray]:
    """What `align` claims to compute, by maps.py and measures.py in float64."""
    grid = Grid(*models.shape[1:])
    result = {name: np.empty((len(people), len(sigmas_px), len(models))) for name in NAMES}
    for j, sigma in enumerate(sigmas_px):
        blurred = models if smoothed == "human" else smooth(models, sigma)
        for i, person in enumerate(people):
            human = fixation_map(person.x, person.y, person.weight, grid, 0 if smoothed == "model" else sigma)
            for name in NAMES:
                result[name][i, j] = MEASURES[name].function(human, blurred)
    return result


def assert_within(found: dict[str, FloatArray], expected: dict[str, FloatArray], error: dict[str, float]) -> None:
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=error[name], err_msg=name)


@settings(max_examples=60)
@given(
    height=st.integers(11, 70),
    width=st.integers(11, 70),
    n_fixations=st.sampled_from([1, 3, 25, 300]),
    sigma_share=st.just(0.0) | st.floats(1e-4, 1),
    smoothed=st.sampled_from(["human", "model", "both"]),
    seed=st.integers(0, 2**32 - 1),
)
@example(height=11, width=11, n_fixations=1, sigma_share=0.0, smoothed="both", seed=0)
@example(height=60, width=200, n_fixations=25, sigma_share=0.05, smoothed="human", seed=1)
@example(height=200, width=60, n_fixations=25, sigma_share=0.05, smoothed="both", seed=2)
@example(height=44, width=108, n_fixations=300, sigma_share=1.0, smoothed="human", seed=3)
def test_the_sweep_is_the_measures_one_by_one(
    height: int, width: int, n_fixations: int, sigma_share: float, smoothed: str, seed: int
) -> None:
    """Any size and gaze, with models as heads give them and degenerate ones, sigma up to the longer side."""
    rng, grid = np.random.default_rng(seed), Grid(height, width)
    models = np.concatenate([attention(rng, grid, 3), degenerate(rng, grid)])
    people = [gaze(rng, grid, n_fixations) for _ in range(2)]
    sigmas_px = [0.0, 0.7, sigma_share * max(height, width)]
    expected = one_by_one(people, models, sigmas_px, smoothed)
    assert_within(align(people, models, sigmas_px, smooth=smoothed), expected, FLOAT32_ERROR)
    exact = align(people, models, sigmas_px, smooth=smoothed, dtype=torch.float64)
    # CC divides by a map's SD: its values' rounding counts the more, the flatter the map is.
    blurred = models if smoothed == "human" else np.concatenate([smooth(models, sigma) for sigma in sigmas_px])
    spread = blurred.std(axis=(1, 2)) / blurred.mean(axis=(1, 2))
    rounding = np.finfo(np.float64).eps / spread[spread > 1e-12].min()
    assert_within(exact, expected, dict.fromkeys(NAMES, 1e-9) | {"cc": max(1e-9, rounding)})


@pytest.mark.parametrize("smoothed", ["human", "model", "both"])
def test_more_sigmas_and_models_than_a_block_holds(smoothed: str) -> None:
    rng, grid = np.random.default_rng(5), Grid(30, 40)
    models = attention(rng, grid, MODELS_PER_BLOCK + 3, patch_px=5)
    people = [gaze(rng, grid, 25)]
    sigmas_px = list(np.linspace(0.2, 9, SIGMAS_PER_BLOCK + 2))
    expected = one_by_one(people, models, sigmas_px, smoothed)
    assert_within(align(people, models, sigmas_px, smooth=smoothed), expected, FLOAT32_ERROR)


@pytest.mark.parametrize("smoothed", ["human", "model", "both"])
def test_the_sweep_at_its_own_size(smoothed: str) -> None:
    """224 x 224 px, where sums are longest: 50,176 pixels."""
    rng, grid = np.random.default_rng(6), Grid(224, 224)
    models, people = np.concatenate([attention(rng, grid, 2), degenerate(rng, grid)]), [gaze(rng, grid, 25)]
    sigmas_px = [1.12, 11.2, 44.8]
    expected = one_by_one(people, models, sigmas_px, smoothed)
    assert_within(align(people, models, sigmas_px, smooth=smoothed), expected, FLOAT32_ERROR)


def test_a_constant_model_has_no_correlation_and_the_others_keep_theirs() -> None:
    rng, grid = np.random.default_rng(7), Grid(20, 30)
    models = np.concatenate([attention(rng, grid, 1), np.full((1, *grid.shape), 3.0)])
    cc = align([gaze(rng, grid, 20)], models, [2.0], smooth="human", measures=["cc"])["cc"]
    assert np.isfinite(cc[0, 0, 0]) and np.isnan(cc[0, 0, 1])


def test_only_the_measures_asked_for_are_computed_and_they_are_the_same() -> None:
    rng, grid = np.random.default_rng(8), Grid(40, 40)
    models, people = attention(rng, grid, 3), [gaze(rng, grid, 20)]
    everything = align(people, models, [3.0], smooth="human")
    for name in NAMES:
        alone = align(people, models, [3.0], smooth="human", measures=[name])
        assert list(alone) == [name]
        np.testing.assert_array_equal(alone[name], everything[name])


@pytest.mark.parametrize("smoothed", ["human", "model", "both"])
def test_a_participants_numbers_depend_on_nobody_else(smoothed: str) -> None:
    """To the last bit, so that adding a participant leaves published rows as they were."""
    rng, grid = np.random.default_rng(9), Grid(50, 60)
    models, people = attention(rng, grid, 5), [gaze(rng, grid, n) for n in (3, 40, 17)]
    together = align(people, models, [1.0, 5.0], smooth=smoothed)
    for i, person in enumerate(people):
        alone = align([person], models, [1.0, 5.0], smooth=smoothed)
        for name in NAMES:
            assert alone[name][0].tobytes() == together[name][i].tobytes()


def test_scales_of_weights_and_models_do_not_matter() -> None:
    rng, grid = np.random.default_rng(10), Grid(30, 30)
    models, person = attention(rng, grid, 4), gaze(rng, grid, 20)
    plain = align([person], models, [2.0], smooth="human")
    scaled = align([Fixations(person.x, person.y, 1e4 * person.weight)], 1e-12 * models, [2.0], smooth="human")
    assert_within(scaled, plain, FLOAT32_ERROR)


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_model_sigma_comes_back_by_kl_from_3000_raw_fixations(seed: int) -> None:
    """Fixations drawn from attention blurred by a known sigma; the sweep's lowest KL lies within 10 % of it."""
    rng, grid = np.random.default_rng(seed), Grid(112, 112)
    model = attention(rng, grid, 1, patch_px=8)
    planted_px = 6.0
    density = smooth(model, planted_px)[0]
    row, column = np.divmod(rng.choice(density.size, size=3000, p=density.ravel()), grid.width)
    fixations = Fixations(column + rng.random(3000), row + rng.random(3000), np.ones(3000))
    sigmas_px = np.arange(0.3, 12.0, 0.3)
    kl = align([fixations], model, list(sigmas_px), smooth="model", measures=["kl"])["kl"][0, :, 0]
    assert abs(sigmas_px[kl.argmin()] - planted_px) <= 0.1 * planted_px
    assert 0 < kl.argmin() < len(kl) - 1


def test_the_planted_head_is_the_closest_by_every_measure() -> None:
    """Each of 12 observers follows one of 12 heads; smoothing both, each measure names that head."""
    rng, grid = np.random.default_rng(11), Grid(96, 96)
    models = attention(rng, grid, 12, patch_px=8)
    people = []
    for density in models / models.sum(axis=(1, 2), keepdims=True):
        row, column = np.divmod(rng.choice(density.size, size=400, p=density.ravel()), grid.width)
        people.append(Fixations(column + 0.5, row + 0.5, np.ones(400)))
    found = align(people, models, [4.0], smooth="both")
    for name in NAMES:
        values = found[name][:, 0] if MEASURES[name].closer == "higher" else -found[name][:, 0]
        np.testing.assert_array_equal(values.argmax(axis=1), np.arange(12), err_msg=name)


def bad_inputs() -> dict[str, tuple[Callable[[], object], str]]:
    rng, grid = np.random.default_rng(12), Grid(20, 20)
    models, person = attention(rng, grid, 2), gaze(rng, grid, 5)
    outside = Fixations(person.x + 100, person.y, person.weight)
    negative, empty = models.copy(), models.copy()
    negative[1, 3, 3] = -1
    empty[0] = 0
    return {
        "nobody on the picture": (
            lambda: align([person, outside], models, [1.0], smooth="human"),
            "participant 1 .*no fixation with weight lies on the picture",
        ),
        "negative model": (lambda: align([person], negative, [1.0], smooth="human"), "model's map 1 has negative"),
        "empty model": (lambda: align([person], empty, [1.0], smooth="human"), "model's map 0 sums to zero"),
        "one model without its axis": (
            lambda: align([person], models[0], [1.0], smooth="human"),
            "must have the shape",
        ),
        "unknown measure": (
            lambda: align([person], models, [1.0], smooth="human", measures=["auc"]),
            "must be among kl, cc, sim, ssim; auc is invalid",
        ),
        "unknown smooth": (lambda: align([person], models, [1.0], smooth="neither"), "'neither' is invalid"),  # type: ignore[arg-type]
        "negative sigma": (lambda: align([person], models, [-1.0], smooth="human"), "not negative"),
        "too small for ssim": (lambda: align([person], models[:, :9], [1.0], smooth="human"), "at least 11 x 11 px"),
    }


@pytest.mark.parametrize("case", bad_inputs().values(), ids=bad_inputs().keys())
def test_what_cannot_be_compared_is_refused_in_words(case: tuple[Callable[[], object], str]) -> None:
    call, message = case
    with pytest.raises(ValueError, match=message):
        call()


def test_maps_too_small_for_ssim_have_the_other_measures() -> None:
    rng, grid = np.random.default_rng(13), Grid(7, 7)
    found = align([gaze(rng, grid, 5)], attention(rng, grid, 2, 1), [1.0], smooth="human", measures=["kl", "cc", "sim"])
    assert all(np.isfinite(values).all() for values in found.values())


IN_A_PROCESS_OF_ITS_OWN = """
import sys
from pathlib import Path
import numpy as np, torch
from beholder.analysis.alignment.sweep import Fixations, align
torch.set_num_threads(1)
height, width, warm_up = (int(argument) for argument in sys.argv[1:])
for _ in range(warm_up):  # other work before, as a worker of a pool has had
    junk = np.random.default_rng(warm_up).random((3, 33, 47))
    align([Fixations(np.full(5, 3.3), np.full(5, 4.4), np.ones(5))], junk, [1.5], smooth="both")
rng = np.random.default_rng(0)
person = Fixations(rng.random(25) * width, rng.random(25) * height, rng.random(25))
models = rng.random((12, height, width)) ** 8
found = align([person], models, list(0.005 * width * np.arange(1, 41)), smooth="human")
import hashlib
digest = hashlib.sha256(b"".join(found[name].tobytes() for name in sorted(found))).hexdigest()
# Not ru_maxrss, which a process inherits from the one that started it.
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else ["VmHWM: 0 kB"]
print(digest, next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


def in_a_process_of_its_own(height: int, width: int, warm_up: int = 0) -> tuple[str, float]:
    """Digest of a sweep's numbers, and the process's peak memory in GiB."""
    command = [sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN, str(height), str(width), str(warm_up)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return printed[0], int(printed[1]) / 2**20


@pytest.mark.slow
def test_every_process_finds_the_same_bytes() -> None:
    digests = {in_a_process_of_its_own(101, 67, warm_up)[0] for warm_up in (0, 1, 4)}
    assert len(digests) == 1 and digests != {hashlib.sha256(b"").hexdigest()}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is in KiB on Linux only")
def test_a_picture_of_768_x_1024_px_stays_under_1_5_gib_a_process() -> None:
    """So that two workers stay under 3 GB."""
    assert in_a_process_of_its_own(768, 1024)[1] < 1.5 * 1e9 / 2**30


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.parametrize("smoothed", ["human", "model", "both"])
def test_a_gpu_finds_what_a_processor_finds(smoothed: Smooth) -> None:
    rng, grid = np.random.default_rng(12), Grid(60, 70)
    models, people = attention(rng, grid, 20), [gaze(rng, grid, n) for n in (3, 40)]
    of_cpu, of_gpu = (align(people, models, [1.0, 5.0], smooth=smoothed, device=d) for d in ("cpu", "cuda"))
    for name, limit in {"kl": 4e-5, "cc": 1e-5, "sim": 1e-6, "ssim": 1e-5}.items():
        np.testing.assert_allclose(of_gpu[name], of_cpu[name], atol=limit, rtol=0)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 2e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("shape", [(11, 11), (12, 30), (37, 53), (130, 64)])
def test_ssim_by_the_compiled_loop_is_ssim_in_steps(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, error: float, shape: tuple[int, int]
) -> None:
    rng, grid = np.random.default_rng(41), Grid(*shape)
    people, models = [gaze(rng, grid, 6)], np.concatenate([attention(rng, grid, 3), degenerate(rng, grid)])

    def ssim() -> FloatArray:
        return align(people, models, [0.5, 2.0, 9.0], smooth="human", measures=["ssim"], dtype=dtype)["ssim"]

    by_kernel = ssim()
    monkeypatch.setattr(sweep, "_structural_similarity", sweep._ssim_in_steps)
    assert np.abs(by_kernel - ssim()).max() < error
