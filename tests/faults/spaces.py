"""Machines of a network of their own on this one: namespaces of Linux, whose links can be cut and folders hidden.

    10.77.0.1 ── switch ── 10.77.0.2 …

The switch is a bridge in a namespace too, so nothing of it is seen outside.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

_NEW_NETWORK, _NEW_MOUNTS = 0x40000000, 0x00020000  # CLONE_NEWNET, CLONE_NEWNS of <sched.h>
_PRIVATE = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE of <sys/mount.h>


class Place(NamedTuple):
    """Where a process runs: a network namespace, folders that look empty there, and packages that come first."""

    space: str = ""
    hidden: tuple[Path, ...] = ()
    packages: tuple[Path, ...] = ()

    def enter(self) -> None:
        """Move this process there, which has no other threads."""
        sys.path[:0] = map(str, self.packages)
        libc = ctypes.CDLL(None, use_errno=True)
        if self.space:
            with Path("/run/netns", self.space).open() as opened:
                _check(libc.setns(opened.fileno(), _NEW_NETWORK))
        if self.hidden:
            _check(libc.unshare(_NEW_MOUNTS))
            _check(libc.mount(b"none", b"/", None, ctypes.c_ulong(_PRIVATE), None))
        for folder in self.hidden:
            _check(libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", ctypes.c_ulong(0), None))


#: Where this process runs.
HERE = Place()


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Network:
    """Some machines on a switch.

    Raises
    ------
    OSError, subprocess.CalledProcessError
        Where this user or this system can't make one.
    """

    def __init__(self, n_machines: int) -> None:
        self.switch, *self.spaces = (f"summit-{os.getpid()}-{number}" for number in range(n_machines + 1))
        try:
            for space in (self.switch, *self.spaces):
                _ip("netns", "add", space)
                _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
            _ip("-n", self.switch, "link", "set", "bridge", "up")
            for number, space in enumerate(self.spaces):
                self._join(number, space)
        except BaseException:
            self.end()
            raise

    def _join(self, number: int, space: str) -> None:
        peer = ("peer", "name", "cable", "netns", space)
        _ip("-n", self.switch, "link", "add", f"port{number}", "type", "veth", *peer)
        _ip("-n", self.switch, "link", "set", f"port{number}", "master", "bridge", "up")
        _ip("-n", space, "address", "add", f"{self.address(number)}/24", "dev", "cable")
        _ip("-n", space, "link", "set", "cable", "up")

    def address(self, number: int) -> str:
        """Of a machine."""
        return f"10.77.0.{number + 1}"

    def cut(self, number: int) -> None:
        """Nothing goes from or to a machine any more."""
        _ip("-n", self.switch, "link", "set", f"port{number}", "down")

    def heal(self, number: int) -> None:
        """It does again."""
        _ip("-n", self.switch, "link", "set", f"port{number}", "up")

    def end(self) -> None:
        """Take it away, with what may be left of it."""
        for space in (self.switch, *self.spaces):
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)


def why_none() -> str:
    """Why there can be no such network here; empty if there can."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        return "network namespaces take Linux, its superuser and the command ip"
    try:
        Network(1).end()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces here: {error}"
    return ""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
