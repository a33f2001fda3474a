"""Runs whole transfers in children of a process that has everything imported, and lets accidents happen to them.

Reads a JSON object a line, answers each with a line: for every child its exit status (negative: the signal), the type
and text of what it raised, and its seconds. A child that is forked here starts at once, so that a random moment of its
life is a random moment of the transfer. This process never runs anything in parallel, since threads do not survive
a fork.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

import salt_ext
import salt_ext.pipeline  # imported by the first call otherwise; a child may be a user who cannot read the libraries


def transfer(request: dict[str, Any], limits: bool = True) -> dict[str, float]:
    """One transfer; the seconds until each of its steps began."""
    begin, steps = time.perf_counter(), {}
    filling = request.get("fill")

    def progress(step: str, done: int, total: int) -> None:
        first = step not in steps
        steps.setdefault(step, time.perf_counter() - begin)
        if filling is not None and first and step == filling["at"]:
            fill(Path(filling["file"]), filling["left"])

    if limits and request.get("largest") is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest"],) * 2)
    if limits and request.get("user") is not None:
        os.setgid(request["user"])
        os.setuid(request["user"])
    names = ("source", "donor", "output")
    salt_ext.transfer(*(request[name] for name in names), force=request.get("force", False), progress=progress)
    return steps


def fill(file: Path, left: int) -> None:
    """Leaves so many bytes on the file's disk."""
    with file.open("wb", buffering=0) as stream:
        free = os.statvfs(file).f_bavail * os.statvfs(file).f_frsize
        os.posix_fallocate(stream.fileno(), 0, max(1, free - left))


def start(request: dict[str, Any]) -> tuple[int, int]:
    """Process id, and where it will write what it raised."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    try:
        transfer(request)
    except BaseException as error:
        os.write(writer, json.dumps([type(error).__name__, str(error)[:2000]]).encode())
        os._exit(1)
    os._exit(0)


def run(request: dict[str, Any]) -> list[dict[str, Any]]:
    begin = time.perf_counter()
    children = [start(request) for _ in range(request.get("copies", 1))]
    if request.get("kill_after") is not None:
        time.sleep(request["kill_after"])
        for child, _ in children:
            os.kill(child, signal.SIGKILL)
    answers = []
    for child, reader in children:
        with open(reader, "rb") as stream:
            raised = stream.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        kind, text = json.loads(raised) if raised else (None, None)
        answers.append({"status": status, "error": kind, "text": text, "seconds": time.perf_counter() - begin})
    return answers


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        # "here": in this process itself, so that the children find everything imported.
        answer: Any = transfer(request, limits=False) if request.get("here") else run(request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
