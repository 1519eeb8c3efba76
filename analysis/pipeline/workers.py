"""Where the jobs of an analysis run: in processes on this machine, or on the machines of a Dask cluster.

A job is a function and one argument, both picklable, and writes what it makes into files of its own, whole or not at
all; so a job that is lost with its machine is simply done again. One thread a process: more would only wait for each
other, and sums would depend on how many there are. With the same versions of the packages the bytes are the same
wherever a job ran. Not here: what the jobs are (the stages).
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from beholder.shared.errors import StudyError
from beholder.shared.processes import deaf_to_interrupts
from beholder.shared.provenance import versions

# Is told a stage's name, how many of its jobs are done, and of how many.
Progress = Callable[[str, int, int], None]


def untold(stage: str, done: int, total: int) -> None:
    """Tell nobody of progress."""


class Runner(Protocol):
    """Runs jobs: the outcomes in the jobs' order; the first error that comes back is raised."""

    def __call__(
        self,
        function: Callable[[Any], Any],
        jobs: Iterable[Any],
        stage: str,
        total: int | None = None,
    ) -> list[Any]:
        """Run `function` on every job.

        stage: what the progress is of. total: the number of jobs, where `jobs` is an iterator that makes each when it
        is wanted; only as many are taken from it at a time as keep all workers busy.
        """


THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
                    "POLARS_MAX_THREADS")  # fmt: skip
# What numbers depend on: on a cluster every machine must have the same.
ALIKE = ("beholder", "numpy", "scipy", "pandas", "pyarrow", "torch", "numba", "timm", "pillow", "pymovements", "I2MC")
ANSWER_S = 10
AHEAD = 4  # jobs handed out for each worker, so that none waits for the next
FEWEST_AHEAD = 32  # on a cluster, which starts more workers where there is more to do
_one_job = threading.Lock()


def runner(workers: int, cluster: str | None, study_folder: Path, progress: Progress) -> AbstractContextManager[Runner]:
    """A context in which jobs run: on the cluster of a Dask scheduler's address, else in `workers` processes."""
    return on_cluster(cluster, study_folder, progress) if cluster else processes(workers, progress)


@contextmanager
def processes(workers: int, progress: Progress = untold) -> Iterator[Runner]:
    """A function that runs jobs in `workers` processes; these are started when they are first needed."""
    pool: list[ProcessPoolExecutor] = []

    def run(function: Callable[[Any], Any], jobs: Iterable[Any], stage: str, total: int | None = None) -> list[Any]:
        waiting, total = _numbered(jobs, total)
        if not total:
            return []
        if not pool:
            # Fork copies torch's threads half alive; spawn is the same on every system.
            context = multiprocessing.get_context("spawn")
            pool.append(ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread))
        progress(stage, 0, total)
        outcomes: dict[int, Any] = {}
        running: dict[Future[Any], int] = {}
        while len(outcomes) < total:
            wanted = list(islice(waiting, AHEAD * workers - len(running)))
            with deaf_to_interrupts():
                running |= {pool[0].submit(function, job): number for number, job in wanted}
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                if future.exception() is not None:
                    pool[0].shutdown(wait=True, cancel_futures=True)
                outcomes[running.pop(future)] = future.result()
                progress(stage, len(outcomes), total)
        return [outcomes[number] for number in range(total)]

    # BLAS reads its number of threads when it is loaded, which spawn does before any initializer runs.
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield run
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        for executor in pool:
            executor.shutdown(wait=True, cancel_futures=True)


def _one_thread() -> None:
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))


@contextmanager
def on_cluster(address: str, study_folder: Path, progress: Progress = untold) -> Iterator[Runner]:
    """A function that runs jobs on the workers of the Dask scheduler at `address`, such as tcp://node7:8786.

    Study folder and cache lie where every worker finds them under the same path. Raises StudyError, with the remedy,
    where nobody answers, there is no worker, or one has other packages or does not see the study.
    """
    try:
        import distributed
    except ModuleNotFoundError:
        raise StudyError(
            'a cluster needs the package distributed: pip install -e ".[cluster]" -c constraints.txt.'
        ) from None
    make: Any = distributed.Client  # which has no types
    try:
        client: Any = make(address, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise StudyError(
            f"no Dask scheduler answers at {address} ({error}): start one (dask scheduler) and name its address."
        ) from None
    with client:
        _check(client, address, study_folder)
        yield partial(_run_on, client, progress)


def _run_on(
    client: Any,
    progress: Progress,
    function: Callable[[Any], Any],
    jobs: Iterable[Any],
    stage: str,
    total: int | None = None,
) -> list[Any]:
    import distributed

    waiting, total = _numbered(jobs, total)
    if not total:
        return []
    make: Any = distributed.as_completed  # which has no types
    progress(stage, 0, total)
    outcomes: dict[int, Any] = {}
    running: dict[Any, int] = {}
    finished = make(loop=client.loop)
    try:
        while len(outcomes) < total:
            # What is handed out lies in the scheduler's memory.
            most = max(FEWEST_AHEAD, AHEAD * len(client.nthreads()))
            for number, job in islice(waiting, max(0, most - len(running))):
                # A job is never taken for one that was done before: it writes files, and these may be gone.
                future = client.submit(_alone, function, job, pure=False, retries=0)
                running[future] = number
                finished.add(future)
            future = next(finished)
            outcomes[running.pop(future)] = future.result()
            progress(stage, len(outcomes), total)
        return [outcomes[number] for number in range(total)]
    except distributed.KilledWorker as error:
        raise StudyError(
            f"{stage}: one worker of the cluster after another died over the same piece ({error}), as they do where "
            "memory is short: give each more, and analyse again; what is done is kept."
        ) from None
    finally:
        client.cancel(list(running))


def _numbered(jobs: Iterable[Any], total: int | None) -> tuple[Iterator[tuple[int, Any]], int]:
    """The jobs with their numbers, and how many there are; ValueError where there turn out to be fewer or more."""
    if total is None:
        jobs = list(jobs)
        total = len(jobs)
    return ((number, job) for number, (job, _) in enumerate(zip(jobs, range(total), strict=True))), total


def _alone(function: Callable[[Any], Any], job: Any) -> Any:
    """The job, with one thread, and no other in this process."""
    import torch
    from threadpoolctl import threadpool_limits

    with _one_job, threadpool_limits(1):
        torch.set_num_threads(1)
        return function(job)


def _check(client: Any, address: str, study_folder: Path) -> None:
    """Every worker has the same packages and sees the study."""
    here = versions(ALIKE)
    found: Mapping[str, tuple[dict[str, str], bool]] = client.run(_what_is_there, str(study_folder.resolve()))
    if not found:
        raise StudyError(f"the Dask scheduler at {address} has no workers: start some (dask worker {address}).")
    for worker, (there, sees_study) in sorted(found.items()):
        unlike = [f"{name} {there[name]} (here {here[name]})" for name in ALIKE if there[name] != here[name]]
        if unlike:
            raise StudyError(
                f"the worker {worker} has {', '.join(unlike)}: install the same versions on every machine, for the "
                "numbers depend on them."
            )
        if not sees_study:
            raise StudyError(
                f"the worker {worker} does not see {study_folder.resolve()}: keep the study where every machine finds "
                "it under the same path."
            )


def _what_is_there(study_folder: str) -> tuple[dict[str, str], bool]:
    return versions(ALIKE), Path(study_folder, "study.toml").exists()
