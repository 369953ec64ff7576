"""The long run: python -m tests.faults --kills 60 --seed 0."""

import argparse
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.kills import ANSWERED, STAGES, Kill, Round, Setup, clear, undisturbed
from tests.faults.machines import Machines
from tests.networks import tiny_config, write_images

PER_CLASS = 64


def tiny_setup(folder: Path, per_class: int = PER_CLASS) -> Setup:
    """A run on tiny things, of some partitions of 32 images."""
    folder.mkdir(parents=True, exist_ok=True)
    config = tiny_config(folder)
    write_images(folder / "images", per_class)
    return Setup(config, -(-3 * per_class // 32))


def main() -> None:
    """Kill until there were enough kills; says what was found."""
    parser = argparse.ArgumentParser(description="Kill processes of runs at random moments; compare their stores.")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="default: a temporary one, kept if anything goes wrong")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="faults-"))
    setup = tiny_setup(folder / "things")
    machines = Machines(folder / "machines")
    start = time.monotonic()
    kills: list[Kill] = []
    problems: list[str] = []
    try:
        reference = folder / "reference" / "store.zarr"
        reference.parent.mkdir()
        machines.mend()  # the first process waits until all is imported, which no stage should be said to take
        seconds = undisturbed(setup, reference, machines)
        print({stage: round(time, 2) for stage, time in seconds.items()}, flush=True)
        number = 0
        while sum(kill.victim not in ANSWERED for kill in kills) < given.kills:
            kind = "local" if number % 6 == 5 else "tcp"
            store = folder / f"round-{number}" / "store.zarr"
            store.parent.mkdir()
            chance = random.Random(f"{given.seed}-{number}")
            round_ = Round(setup, store, seconds, machines if kind == "tcp" else None, chance)
            try:
                round_.play(STAGES)
                round_.check(reference)
            finally:
                round_.end()
            kills += round_.kills
            problems += round_.problems
            print(f"round {number} ({kind}): {[(k.stage, k.victim) for k in round_.kills]}", flush=True)
            for problem in round_.problems:
                print(f"PROBLEM {problem}", flush=True)
            if not round_.problems:
                clear(store)
            number += 1
    finally:
        machines.end()
    print(summary(kills, problems, time.monotonic() - start))
    raise SystemExit(bool(problems))


def summary(kills: list[Kill], problems: list[str], seconds: float) -> str:
    """A table of kills by stage and victim."""
    victims = ("worker", "scheduler", "client", "all", *ANSWERED)
    count = Counter((kill.stage, kill.victim) for kill in kills)
    rows = [f"| {stage} | " + " | ".join(str(count[stage, victim]) for victim in victims) + " |" for stage in STAGES]
    head = ["| stage | " + " | ".join(victims) + " |", "|---|" + "---|" * len(victims)]
    longest = max((kill.seconds for kill in kills), default=0.0)
    end = f"{len(kills)} in {seconds / 60:.0f} min, signals answered within {longest:.1f} s; {len(problems)} problems"
    return "\n".join([*head, *rows, end])


if __name__ == "__main__":
    main()
