"""Counts the tasks that reach a scheduler, which imports nothing else for it."""

from typing import Any

from distributed import Scheduler, SchedulerPlugin


class Counting(SchedulerPlugin):
    """Counts tasks that reach the scheduler."""

    name = "counting"
    n_tasks = 0

    def update_graph(self, scheduler: Scheduler, **given: Any) -> None:
        """Called by Dask."""
        self.n_tasks += len(given["tasks"])


def counted(dask_scheduler: Scheduler) -> int:
    """Runs on the scheduler."""
    plugin: Any = dask_scheduler.plugins[Counting.name]
    return int(plugin.n_tasks)
