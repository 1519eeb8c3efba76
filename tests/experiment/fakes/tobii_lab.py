"""A Tobii tracker and the eyes before it, as both of Tobii's packages show them: `fake_tobii_research`, `fake_tittapy`.

It samples on a clock that it is given: when `advance` is called it hands out what is due until now, so that on a
virtual clock everything is repeatable; `run` does the same from a thread of its own, in real time. What it handed over
is kept in `delivered`. Faults are methods, or stand in the script. Nothing here is of a vendor's language.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, floor, sin
from typing import Any

CONNECTION, LICENCE, UNSUPPORTED, STATE, FAILED = "connection", "licence", "unsupported", "state", "failed"
# The system's clock as the SDK tells it, before the session's, and the tracker's own.
SYSTEM_US, DEVICE_US, DEVICE_PPM = 7_500_000, 1_234_000_000, 30
SDK_BUFFER = 64
# A virtual clock that nobody moves for so long in real time stands still for good: whoever waits for it is let go.
STANDS_STILL_S = 0.3


class Refused(Exception):  # noqa: N818
    """What the tracker does not do; `kind` is one of the above."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)


def flat_area(width_cm: float, height_cm: float) -> dict[str, tuple[float, float, float]]:
    """A screen that stands upright above the tracker's middle: its corners in mm."""
    half, height = width_cm * 5, height_cm * 10
    return {"top_left": (-half, height, 0.0), "top_right": (half, height, 0.0), "bottom_left": (-half, 0.0, 0.0)}


@dataclass
class Script:
    """Who sits there and what the tracker is like."""

    serial: str = "TPSP1-010203040506"
    model: str = "Tobii Pro Spectrum"
    address: str = "tet-tcp://127.0.0.1"
    firmware: str = "2.6.1-orilla"
    # Others on the network: serial, model and address of each.
    others: list[tuple[str, str, str]] = field(default_factory=list)
    found: bool = True
    rates: tuple[float, ...] = (60.0, 120.0, 250.0, 600.0, 1200.0)
    rate_hz: float = 60.0
    modes: tuple[str, ...] = ("human", "monkey", "great_ape")
    mode: str = "human"
    # It says yes to any rate and mode, and stays where it is.
    stubborn: bool = False
    area: dict[str, tuple[float, float, float]] = field(default_factory=lambda: flat_area(53.0, 29.8))
    calibrates: bool = True
    has_positions: bool = True
    # What a licence is answered, "" for yes; and whether gaze needs one.
    licence: str = ""
    gaze_needs_licence: bool = False
    # 2.0 had the track box among its keys.
    keys: str = "2.1"
    # Each so manieth sample is not valid; those of these numbers never come; one eye may be missing altogether.
    invalid_every: int = 0
    missing: tuple[int, ...] = ()
    blind_eye: str = ""
    collect_s: float = 0.8
    # They look at a target whenever the tracker collects, though the fake does not see the screen.
    obliging: bool = False
    # Where they look, by turns, so long each; where there is none, at what is shown.
    path: list[tuple[float, float]] = field(default_factory=list)
    dwell_s: float = 0.3
    # Into this file goes what was handed over, line by line.
    log: str = ""
    # The SDK keeps so many samples for a slow callback; 0: all.
    buffer: int = 0
    fault: str = ""
    fault_at_sample: int = -1


@dataclass(frozen=True)
class Sample:
    """What was handed over; positions are shares of the display area, None where not valid."""

    system_us: int
    device_us: int
    left: tuple[float, float] | None
    right: tuple[float, float] | None
    pupil_mm: float


class Lab:
    """The tracker and the eyes. `now_s` is the session's clock; `virtual` says that it moves only when told to."""

    def __init__(self, script: Script, now_s: Callable[[], float], *, virtual: bool = True) -> None:
        self.script, self.now_s, self.virtual = script, now_s, virtual
        self.connected = True
        self.delivered: list[Sample] = []
        self.syncs: list[tuple[int, int, int]] = []
        # By stream, who is to be told: gaze, sync, position, notification, error.
        self.listeners: dict[str, list[Callable[[Any], None]]] = {
            name: [] for name in ("gaze", "sync", "position", "notification", "error")
        }
        self.clockwork: list[Callable[[], None]] = []
        self._until_s: float | None = None
        self.hangs = False
        self.calls: list[str] = []
        # Calibration.
        self.in_calibration = False
        self.calibrated = False
        self.collected: list[tuple[float, float]] = []
        self.fail_points = 0
        self.fail_computing = 0
        self.calibrated_eyes = ("left", "right")
        # Gaze.
        self._looks: list[tuple[float, float, float]] = [(-1.0, 0.5, 0.5)]
        self._next_sample = self._next_sync = self._next_position = 0
        self._count = 0
        self._skip = 0
        self._shut_until_s = -1.0
        self._moved = threading.Condition()
        self._moved_at_s = time.monotonic()
        self._log: Any = None
        self._ends = threading.Event()

    # Time.

    def run(self) -> threading.Thread:
        """Move by itself, in real time, until the program ends or `end` is called."""

        def move() -> None:
            while not self._ends.wait(0.004):
                self.advance()

        thread = threading.Thread(target=move, name="fake Tobii", daemon=True)
        thread.start()
        return thread

    def end(self) -> None:
        self._ends.set()

    def advance(self) -> None:
        """Do what is due until now."""
        now_s = self.now_s()
        if self.connected:
            self._sample(now_s)
        for tick in list(self.clockwork):
            tick()
        with self._moved:
            self._moved_at_s = time.monotonic()
            self._moved.notify_all()

    def stands_still(self) -> bool:
        return self.virtual and time.monotonic() - self._moved_at_s > STANDS_STILL_S

    def wait(self, seconds: float) -> None:
        """For a call that returns when it is done: so much time passes. Raises Refused where the tracker goes."""
        gives_up_s = time.monotonic() + 30
        with self._moved:
            self._until_s = self.now_s() + seconds
            while self.waits() and time.monotonic() < gives_up_s:
                self._moved.wait(0.05)
                if self.stands_still() and not self.hangs:
                    break
            self._until_s = None
        self.reach()

    def waits(self) -> bool:
        """Whether a call is under way, and time must go on before it returns."""
        until_s = self._until_s
        return until_s is not None and self.connected and (self.hangs or self.now_s() < until_s)

    def system_us(self) -> int:
        return round(self.now_s() * 1e6) + SYSTEM_US

    # Reaching it.

    def reach(self) -> None:
        if not self.connected:
            raise Refused(CONNECTION, "the connection to the eye tracker failed")

    def devices(self) -> list[tuple[str, str, str]]:
        """Serial, model and address of each that is found; in another order each time."""
        own = [(self.script.serial, self.script.model, self.script.address)] if self.script.found else []
        self.calls.append("find")
        found = [*self.script.others, *own]
        return found if len(self.calls) % 2 else found[::-1]

    def take(self, address: str) -> None:
        self.calls.append(f"connect {address}")
        if address != self.script.address or not self.script.found:
            raise Refused(CONNECTION, "the connection to the eye tracker failed")
        self.reach()

    def set_rate(self, rate_hz: float) -> None:
        self.reach()
        if rate_hz not in self.script.rates:
            raise Refused("value", "the value is out of bounds")
        if not self.script.stubborn:
            self.script.rate_hz = rate_hz
            self.tell("notification", ("rate", rate_hz))

    def set_mode(self, mode: str) -> None:
        self.reach()
        if mode not in self.script.modes:
            raise Refused("value", "the value is out of bounds")
        if not self.script.stubborn:
            self.script.mode = mode
            self.tell("notification", ("mode", None))

    # Streams.

    def listen(self, stream: str, listener: Callable[[Any], None]) -> None:
        self.reach()
        if stream == "position" and not self.script.has_positions:
            raise Refused(UNSUPPORTED, "the feature is not supported by the eye tracker")
        if stream == "gaze" and self.script.gaze_needs_licence:
            raise Refused(LICENCE, "insufficient license level when using a restricted feature")
        if not self.listeners[stream]:
            now_s = self.now_s()
            if stream == "gaze":
                self._next_sample = ceil(now_s * self.script.rate_hz)
            elif stream == "sync":
                self._next_sync = ceil(now_s)
            elif stream == "position":
                self._next_position = ceil(now_s * 30)
        self.listeners[stream].append(listener)

    def unlisten(self, stream: str, listener: Callable[[Any], None]) -> None:
        self.listeners[stream].remove(listener)
        self.reach()

    def tell(self, stream: str, what: Any) -> None:
        for listener in list(self.listeners[stream]):
            listener(what)

    def _sample(self, now_s: float) -> None:
        rate_hz = self.script.rate_hz
        if self.listeners["gaze"]:
            due = floor(now_s * rate_hz + 1e-9) - self._next_sample + 1
            if self.script.buffer and due > self.script.buffer:
                self._next_sample += due - self.script.buffer
                self.tell("notification", ("overflow", None))
            while self.connected and self._next_sample <= now_s * rate_hz + 1e-9:
                tick, self._next_sample = self._next_sample, self._next_sample + 1
                self._deliver(tick / rate_hz)
        while self.listeners["sync"] and self._next_sync <= now_s:
            at_us = self._next_sync * 1_000_000 + SYSTEM_US
            self._next_sync += 1
            sync = (at_us - 150, self._device_us(at_us), at_us + 150)
            self.syncs.append(sync)
            self.tell("sync", sync)
        while self.listeners["position"] and self._next_position <= now_s * 30:
            self._next_position += 1
            # From the participant's right: the left eye is the farther one.
            eyes = {"left": (0.56, 0.45, 0.5), "right": (0.44, 0.45, 0.5)}
            shut = now_s < self._shut_until_s
            blind = self.script.blind_eye
            self.tell("position", {eye: None if shut or eye == blind else place for eye, place in eyes.items()})

    @staticmethod
    def _device_us(system_us: int) -> int:
        return round(system_us * (1 + DEVICE_PPM * 1e-6)) + DEVICE_US

    def _deliver(self, at_s: float) -> None:
        self._count += 1
        recorded = not self.listeners["position"]
        if recorded and self.script.fault and len(self.delivered) == self.script.fault_at_sample:
            getattr(self, self.script.fault)()
            if not self.connected:
                return
        if self._skip:
            self._skip -= 1
            return
        if self._count in self.script.missing:
            return
        seen = at_s >= self._shut_until_s
        if self.script.invalid_every and self._count % self.script.invalid_every == 0:
            seen = False
        x, y = self.gaze_at(at_s)
        # Not calibrated, both eyes are off; and each eye has a little noise of its own, the same each time.
        off = 0.0 if self.calibrated else 0.04
        noise = [2e-4 * sin(12.9898 * self._count + k) for k in range(4)]
        eyes: dict[str, tuple[float, float] | None] = {}
        for k, eye in enumerate(("left", "right")):
            there = seen and eye != self.script.blind_eye
            eyes[eye] = (x + off + noise[2 * k], y + off + noise[2 * k + 1]) if there else None
        system_us = round(at_s * 1e6) + SYSTEM_US
        pupil_mm = 3.2 + 0.1 * sin(at_s)
        sample = Sample(system_us, self._device_us(system_us), eyes["left"], eyes["right"], pupil_mm)
        if recorded:
            self.delivered.append(sample)
            self._write(sample)
        self.tell("gaze", sample)

    def _write(self, sample: Sample) -> None:
        if not self.script.log:
            return
        if self._log is None:
            self._log = open(self.script.log, "w", buffering=1)  # noqa: PTH123, SIM115
        self._log.write(json.dumps([sample.system_us, sample.device_us, sample.left, sample.right]) + "\n")

    # Eyes.

    def look_at(self, from_s: float, x: float, y: float) -> None:
        """Eyes go there; they need 0.2 s."""
        self._looks.append((from_s + 0.2, x, y))

    def gaze_at(self, at_s: float) -> tuple[float, float]:
        """Where they look, as a share of the display area."""
        if self.script.path:
            return self.script.path[int(at_s / self.script.dwell_s) % len(self.script.path)]
        return next((x, y) for from_s, x, y in reversed(self._looks) if from_s <= at_s or from_s < 0)

    # A calibration's steps.

    def enter(self) -> None:
        self.wait(0.1)
        if self.in_calibration:
            raise Refused(STATE, "calibration has already started")
        self.in_calibration, self.collected = True, []
        self.calls.append("enter")
        self.tell("notification", ("entered", None))

    def collect(self, x: float, y: float) -> bool:
        """Whether they looked there, and there were eyes."""
        self._must_calibrate()
        fails = self.fail_points > 0
        self.wait(2.0 if fails else self.script.collect_s)
        now_s = self.now_s()
        at_x, at_y = self.gaze_at(now_s)
        near = self.script.obliging or (abs(at_x - x) < 0.02 and abs(at_y - y) < 0.02)
        near = near and now_s >= self._shut_until_s
        self.calls.append(f"collect {x:.3f} {y:.3f} {'failed' if fails or not near else 'ok'}")
        if fails:
            self.fail_points -= 1
            return False
        if near and (x, y) not in self.collected:
            self.collected.append((x, y))
        return near

    def discard(self, x: float, y: float) -> None:
        self._must_calibrate()
        if (x, y) not in self.collected:
            raise Refused(FAILED, "there is no data of that point")
        self.collected.remove((x, y))
        self.calls.append(f"discard {x:.3f} {y:.3f}")

    def compute(self) -> tuple[str, ...]:
        """The eyes that it holds for."""
        self._must_calibrate()
        self.wait(0.3)
        self.calls.append("compute")
        if self.fail_computing or len(self.collected) < 2:
            self.fail_computing = max(0, self.fail_computing - 1)
            return ()
        self.calibrated = True
        self.tell("notification", ("calibrated", None))
        return tuple(eye for eye in self.calibrated_eyes if eye != self.script.blind_eye)

    def data(self) -> bytes:
        self.reach()
        self.calls.append("data")
        return b"\x00TOBII\xff" + json.dumps(self.collected).encode() if self.calibrated else b""

    def restore(self, data: bytes) -> None:
        self.reach()
        if not data.startswith(b"\x00TOBII\xff"):
            raise Refused(FAILED, "the calibration is not one of this tracker's")
        self.calibrated = True
        self.calls.append("restore")

    def leave(self) -> None:
        if not self.in_calibration:
            raise Refused(STATE, "calibration has not been started")
        self.in_calibration = False
        self.calls.append("leave")
        self.reach()
        self.tell("notification", ("left", None))

    def _must_calibrate(self) -> None:
        self.reach()
        if not self.in_calibration:
            raise Refused(STATE, "calibration has not been started")

    # Faults.

    def disconnect(self) -> None:
        """Its cable is pulled."""
        if self.connected:
            self.connected = False
            self.tell("notification", ("lost", None))
            self.tell("error", ("lost", "The connection to the eye tracker was lost"))

    def overflow(self) -> None:
        """Somebody took samples too slowly: some are gone."""
        self._skip = 20
        self.tell("notification", ("overflow", None))

    def stream_error(self) -> None:
        self.tell("error", ("internal", "the stream pump failed"))

    def silence(self) -> None:
        """Samples do not come for a while, and nobody says so."""
        self._skip = round(0.5 * self.script.rate_hz)

    def shut_eyes(self) -> None:
        self._shut_until_s = self.now_s() + 0.5

    def change_rate(self) -> None:
        """Another program sets another."""
        self.script.rate_hz = 60.0
        self._next_sample = ceil(self.now_s() * 60.0)
        self.tell("notification", ("rate", 60.0))

    def change_area(self) -> None:
        self.tell("notification", ("area", None))

    def warn(self) -> None:
        self.tell("notification", ("warnings", "the tracker is hot"))

    def fail_a_point(self) -> None:
        self.fail_points = 1

    def fail_the_computing(self) -> None:
        self.fail_computing = 1

    def hang(self) -> None:
        """The step under way, or the next, does not end."""
        self.hangs = True


def from_environment() -> Lab:
    """The lab that BEHOLDER_FAKE describes (the script's fields, as JSON), running in real time."""
    values = json.loads(os.environ.get("BEHOLDER_FAKE", "{}"))
    values = {name: tuple(v) if name in ("rates", "missing") else v for name, v in values.items()}
    if "area" in values:
        values["area"] = {name: tuple(corner) for name, corner in values["area"].items()}
    values["path"] = [(x, y) for x, y in values.get("path", [])]
    lab = Lab(Script(**values), time.perf_counter, virtual=False)
    lab.run()
    return lab
