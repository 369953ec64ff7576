"""Kills at random moments of all stages, and what a store must be after them.

    run, pictures, evidence ── killed in every stage ── the same commands again ── the bytes of an undisturbed run

Which stage is in progress is read off the store: its tables say which groups are whole.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil

from summit_dask.facts.config import RunConfig
from tests.faults.machines import STARTS_WITHIN, Machines, command

#: Each stage's command, and the group that is there once it is whole.
STAGES = {
    "init": ("run", "."),
    "extract": ("run", ""),
    "reduce": ("run", "matrices"),
    "examples": ("run", "examples"),
    "graphs": ("run", "graphs/activation-influence"),
    "embed": ("run", "embedding"),
    "pictures": ("pictures", ""),
    "evidence": ("evidence", ""),
}
COMMANDS = ("run", "pictures", "evidence")

#: Signals that a command answers, and its exit codes; SLURM sends the first, a terminal the second, to all processes.
ANSWERED = {"SIGTERM": 143, "SIGINT": 130}

ENDS_WITHIN = 240.0
_LOOK = 0.002


@dataclass(frozen=True)
class Setup:
    """What is run: a configuration on tiny things, and how quick the pictures and the evidence are."""

    config: RunConfig
    n_partitions: int

    def arguments(self, name: str, store: Path) -> list[str]:
        """Of one of the three commands on a store."""
        if name == "pictures":
            return [name, str(store), "--size=16", "--steps=24", "--channels=all"]
        if name == "evidence":
            return [name, str(store), "--samples=4", "--images=6"]
        names = ("model", "weights", "images", "classes", "resize", "crop", "batch_size")
        options = [f"--{option.replace('_', '-')}={getattr(self.config, option)}" for option in names]
        return [name, *options, "--relevance", "--examples=3", "--thumbnail=24", f"--out={store}"]

    def stage(self, command: str, store: Path) -> str:
        """The stage that a command is in, as the store's files tell it."""
        if command != "run":
            return command
        if not store.exists():
            return "init"
        if sum(1 for _ in store.glob("partitions/fingerprint/c/*")) < self.n_partitions:
            return "extract"
        groups = ((stage, group) for stage, (_, group) in STAGES.items() if group not in ("", "."))
        return next((stage for stage, group in groups if not (store / group).exists()), "embed")


class Client:
    """One process that runs a command; a local cluster's workers are its children."""

    def __init__(self, setup: Setup, name: str, store: Path, flags: Sequence[str]) -> None:
        self.setup, self.name, self.store = setup, name, store
        self.log = store.with_name("said.txt")
        self.log.write_text("")
        self.process = command([*setup.arguments(name, store), *flags], self.log)

    def stage(self) -> str:
        """The stage in progress; that of the command, only once it has said what will be done."""
        stage = self.setup.stage(self.name, self.store)
        return stage if self.name == "run" or self.said else f"before {stage}"

    @property
    def said(self) -> str:
        """All of its output."""
        return self.log.read_text(errors="replace")

    @property
    def workers(self) -> list[psutil.Process]:
        """Of its local cluster: children of its fork server."""
        with suppress(psutil.NoSuchProcess):
            own = psutil.Process(self.process.pid)
            return sorted({*own.children(recursive=True)} - {*own.children()}, key=lambda process: process.pid)
        return []

    @property
    def runs(self) -> bool:
        """Whether it hasn't ended."""
        return self.process.is_alive()

    def ended(self) -> int:
        """Its exit code, once it has ended; -9 if it has to be killed."""
        self.process.join(ENDS_WITHIN)
        self.process.kill()
        self.process.join()
        return self.process.exitcode or 0


@dataclass(frozen=True)
class Kill:
    """Who was killed in which stage."""

    stage: str
    victim: str
    #: Until the command had ended, of a signal that it answers.
    seconds: float = 0.0


class Round:
    """A store that is made under fire.

    Parameters
    ----------
    seconds
        How long each stage takes when it is left alone.
    machines
        The cluster over TCP; without it, the command's own local one.
    """

    def __init__(
        self, setup: Setup, store: Path, seconds: dict[str, float], machines: Machines | None, chance: random.Random
    ) -> None:
        self.setup, self.store, self.seconds, self.machines, self.chance = setup, store, seconds, machines, chance
        self.kills: list[Kill] = []
        self.problems: list[str] = []
        self.client: Client | None = None
        self.finished = 0
        self.failures = 0

    @cached_property
    def victims(self) -> tuple[str, ...]:
        """Who can be killed."""
        return ("worker", *(("scheduler",) if self.machines else ()), "client", "all", *ANSWERED)

    def play(self, stages: Iterable[str]) -> None:
        """Kill somebody in each of the stages, in their order, then let all come to its end."""
        for stage in stages:
            if self.reach(stage):
                time.sleep(self.chance.random() * self.seconds[stage])
                self.strike(self.chance.choice(self.victims))
        while self.finished < len(COMMANDS) and not self.problems:
            self.step()

    def reach(self, stage: str) -> bool:
        """Go on until a stage has begun; False if it was over before it was seen."""
        order = {name: place for place, name in enumerate(("run", *STAGES))}
        while self.finished < len(COMMANDS) and not self.problems:
            now = self.client.stage() if self.client else f"before {COMMANDS[self.finished]}"
            if now == stage and self.client and self.client.runs:
                return True
            if order[now.removeprefix("before ")] > order[stage]:
                return False
            self.step()
        return False

    def step(self) -> None:
        """Start the next command, or see whether the present one has ended."""
        if self.client is None:
            if self.machines:
                self.machines.mend()
            flags = self.machines.flags if self.machines else ("--workers=2",)
            self.client = Client(self.setup, COMMANDS[self.finished], self.store, flags)
        elif not self.client.runs:
            self.judge(self.client.ended())
        else:
            time.sleep(_LOOK)

    def strike(self, victim: str) -> None:
        """Kill; whoever depends on the victim has to end by itself."""
        client = self.client
        if client is None or not client.runs:
            return
        workers = client.workers
        if victim == "worker" and not (self.machines or workers):
            return  # a local cluster that isn't there yet
        stage = client.stage().removeprefix("before ")
        if victim in ANSWERED:
            self.kills.append(Kill(stage, victim, self.interrupt(client, victim)))
            return
        self.kills.append(Kill(stage, victim))
        if victim in ("client", "all"):
            client.process.kill()
        if self.machines and victim in ("scheduler", "all") and self.machines.scheduler:
            self.machines.scheduler.kill()
        doomed = self.machines.workers if self.machines else workers
        for worker in doomed if victim == "all" else doomed[:1] if victim == "worker" else ():
            with suppress(psutil.NoSuchProcess):
                worker.kill()
        if victim == "worker" and self.machines:
            self.machines.mend()
            return
        if victim != "worker":
            code = client.ended()
            self.judge(code, -signal.SIGKILL if victim in ("client", "all") else 2)
            self.bury(workers)

    def interrupt(self, client: Client, name: str) -> float:
        """Send the command a signal, its workers too; returns how long it takes to end."""
        workers = client.workers
        start = time.monotonic()
        os.killpg(client.process.pid, signal.Signals[name])
        code = client.ended()
        seconds = time.monotonic() - start
        if code == ANSWERED[name] and "Stopped. What is finished is kept" not in client.said:
            self.problem("no word on what is kept", client.said)
        self.judge(code, ANSWERED[name])
        self.bury(workers)
        return seconds

    def bury(self, workers: Sequence[psutil.Process]) -> None:
        """See that a local cluster's workers end with their client."""
        _, left = psutil.wait_procs(workers, timeout=STARTS_WITHIN / 4)
        if left:
            self.problem(f"{len(left)} workers outlive their client")

    def judge(self, code: int, expected: int = 2) -> None:
        """What a command that has ended may say."""
        client, self.client = self.client, None
        assert client is not None
        if "Traceback" in client.said:
            self.problem(f"{client.name} gave a traceback", client.said)
        if code == 0:
            self.finished += 1
            self.failures = 0
        elif code == expected != 2:
            pass
        elif code != 2 or "Error: " not in client.said:
            self.problem(f"{client.name} ended with {code}", client.said)
        else:
            self.failures += 1
            if self.failures > 2 + len(self.kills):
                self.problem(f"{client.name} doesn't come to its end", client.said)

    def problem(self, what: str, said: str = "") -> None:
        """Note it; ends the round."""
        self.problems.append(f"{what} after {[(kill.stage, kill.victim) for kill in self.kills]}\n{said}")

    def check(self, reference: Path) -> None:
        """Compare with an undisturbed store, byte for byte."""
        if self.problems:
            return
        ours, theirs = files_of(self.store), files_of(reference)
        differing = sorted(str(name) for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        if differing:
            self.problem(f"{len(differing)} files differ: {differing[:8]}")
        known = {self.store.name, f"{self.store.name}.network", "said.txt"}
        left = sorted({path.name for path in self.store.parent.iterdir()} - known)
        left += [str(path) for path in self.store.parent.rglob("*.partial")]
        if left:
            self.problem(f"left behind: {left}")
        log = self.store.with_name("said.txt")
        log.write_text("")
        verified = command(["verify", str(self.store), "--images=4"], log)
        verified.join(ENDS_WITHIN)
        if verified.exitcode != 0:
            self.problem("verify finds", log.read_text())

    def end(self) -> None:
        """Of the command, whatever has happened."""
        if self.client and self.client.runs:
            for process in (self.client.process, *self.client.workers):
                process.kill()


def files_of(store: Path) -> dict[Path, bytes]:
    """Contents by name."""
    return {path.relative_to(store): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def undisturbed(setup: Setup, store: Path, machines: Machines | None) -> dict[str, float]:
    """Make a store without a kill; returns the seconds of each stage."""
    quiet = Round(setup, store, {}, machines, random.Random())
    seconds: dict[str, float] = {}
    last = time.monotonic()
    while quiet.finished < len(COMMANDS):
        quiet.step()
        now = time.monotonic()
        if quiet.client:
            stage = quiet.client.stage()
            seconds[stage] = seconds.get(stage, 0.0) + now - last
        last = now
        if quiet.problems or quiet.failures:
            raise RuntimeError(f"an undisturbed run failed: {quiet.problems} {store.with_name('said.txt').read_text()}")
    return {stage: seconds.get(stage, 0.1) for stage in STAGES}


def clear(store: Path) -> None:
    """Take away a round's folder."""
    shutil.rmtree(store.parent, ignore_errors=True)
