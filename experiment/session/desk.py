"""The operator's side of a session: what they are shown, what they ask for, and what of it is heeded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from beholder.experiment.devices import Clock, Notice
from beholder.experiment.session.ending import Stopped
from beholder.experiment.session.log import EventLog
from beholder.experiment.session.operator import Command, Kind, Operator, Status
from beholder.shared.errors import BeholderError, TrackerError
from beholder.shared.recording.records import OperatorTold
from beholder.shared.study import ProtocolSettings


class Desk:
    """The session's side of the operator: `status` is what they see, and commands are taken or refused here.

    `pictures_left` counts the trials to come, the one under way (`in_trial`) included. `recording_ended` says that the
    tracker was stopped at its own computer.
    """

    def __init__(
        self,
        operator: Operator,
        log: EventLog,
        clock: Clock,
        protocol: ProtocolSettings,
        study_folder: Path,
        status: Status,
    ) -> None:
        self._operator, self._log, self._clock, self._protocol = operator, log, clock, protocol
        self._study_folder = study_folder
        self.status = status
        self.pictures_left = 0
        self.in_trial = self.recording_ended = False
        self._until_s: float | None = None
        self._commands: list[Command] = []

    def update(self, **changes: Any) -> None:
        """Change fields of the status; it is shown when the operator is informed next."""
        self.status = replace(self.status, **changes)

    def phase(self, name: str, until_s: float | None = None, offers: tuple[Kind, ...] = ()) -> None:
        """Set what goes on and what can be asked for; at a dot, or where that changes, waiting commands are refused."""
        goes_on = self.status.offers == offers and name != "dot"
        over = [] if goes_on else self.take_commands()
        self._until_s = until_s
        self.update(phase=name, offers=offers, moment=self.status.moment + (not goes_on))
        for command in over:
            self.refuse(command)

    def end_trial(self) -> None:
        """Note that no trial is under way, and that no end of a phase is known."""
        self.in_trial, self._until_s = False, None

    def inform(self, tracked_percent: float | None) -> None:
        """Show the operator where the session is, with the share of gaze that is tracked."""
        now_s = self._clock.now_s()
        left_s = None if self._until_s is None else max(0.0, self._until_s - now_s)
        session_left_s = (self.pictures_left - self.in_trial) * (self._protocol.dot_s + self._protocol.picture_s)
        if self.in_trial and left_s is not None:
            session_left_s += left_s + self._protocol.picture_s * (self.status.phase == "dot")
        self.update(
            now_s=now_s,
            left_s=left_s,
            session_left_s=session_left_s,
            tracked_percent=tracked_percent,
            missed_frames=self._log.missed_frames,
        )
        self._operator.show(self.status)
        self.update(notices=())

    def tell(self, notice: Notice) -> None:
        """Tell the operator a notice at once, and keep it in the data set, without paths of this computer.

        Raises TrackerError where it is a fatal one.
        """
        self.update(notices=(*self.status.notices, notice.text))
        self.recording_ended = self.recording_ended or notice.ends_recording
        try:
            self._log.record(OperatorTold(self._without_paths(notice.text), notice.fatal))
            if notice.fatal:
                raise TrackerError(notice.text)
        except BeholderError:
            # This error ends the session: the notice must be shown now.
            self.inform(self.status.tracked_percent)
            raise

    def heed(self) -> None:
        """Take what the operator asked for since the last call."""
        for command in self._operator.commands():
            self.take(command)

    def take(self, command: Command) -> None:
        """Take a command where it is offered and given for this moment, else refuse it; "stop" raises Stopped."""
        if command.kind == "stop":
            raise Stopped("the operator stopped the session")
        if command.kind in self.status.offers and command.moment in (None, self.status.moment):
            self._commands.append(command)
        else:
            self.refuse(command)

    def refuse(self, command: Command) -> None:
        """Tell the operator that a command has no meaning now; it does nothing, neither now nor later."""
        offers = ", ".join([*self.status.offers, "stop"])
        text = f'"{command.kind}" is not for now (during "{self.status.phase}" there are {offers}): nothing was done'
        self.tell(Notice(text))

    def take_commands(self, *kinds: Kind) -> list[Command]:
        """Take out the commands that wait, of these kinds where some are named; returns them, oldest first."""
        taken = [command for command in self._commands if not kinds or command.kind in kinds]
        self._commands = [command for command in self._commands if command not in taken]
        return taken

    def _without_paths(self, text: str) -> str:
        """The text with the path of the study's folder cut to its name."""
        for folder in {str(self._study_folder), str(self._study_folder.resolve())}:
            text = text.replace(folder, self._study_folder.name) if len(folder) > 1 else text
        return text
