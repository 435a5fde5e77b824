# SPDX-License-Identifier: GPL-3.0-or-later
"""Several processes that share each batch, one for each graphics card (DistributedDataParallel).

The first one owns the sockets, the store, validation and every file; it sends the others their shares of each batch as
raw renderings, which they augment and compute. It starts them itself, each with a lifeline on stdin, instead of having
``torchrun`` start all: an agent between the session and the trainer would swallow the lifeline, the exit code and the
one sentence that tells a user what is wrong. A trainer that ``torchrun`` did start joins its group all the same
(``torchrun --nproc-per-node N -- launch.py trainer --run RUN --identity ID``): both use the same variables of the
environment.

They meet in a file of a folder that nobody else may open, and gloo and NCCL talk over the loopback interface; torch's
own TCPStore listens on every address, whatever host it is given, and takes orders from whoever connects.

What the others draw for a batch is not part of a checkpoint: a run of several processes goes on from one, but not bit
for bit.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.distributed_c10d import Store
from torch.nn.parallel import DistributedDataParallel

from ...core import run_folder
from ...core.errors import UserError
from ...core.processes.child_process import Child
from ...core.processes.lifeline import end_with_parent
from ...core.processes.programs import LAUNCHER
from ...core.settings.schema import TrainingSettings
from .replay_store import RawBatch

STORE = "ROBOT_KEYPOINTS_STORE"
"""Variable of the environment that tells the others the file in which they meet."""
PATIENCE = timedelta(days=30)
"""The others wait while the first one validates or is paused."""


def processes(settings: TrainingSettings, device: torch.device) -> int:
    """How many share the work on such a device."""
    if device.type != "cuda":
        return max(1, settings.processes)
    cards = torch.cuda.device_count()
    return min(settings.processes or cards, cards)


def rank() -> int:
    """This process's number in its group; 0 for one that was started by itself."""
    return int(os.environ.get("RANK", "0"))


def stay_on_this_machine() -> None:
    """Have gloo and NCCL listen on the loopback interface alone, unless the environment names another.

    Left to themselves they take the address that the machine's name stands for, or the first network card.
    """
    names = [name for _, name in socket.if_nameindex()] if hasattr(socket, "if_nameindex") else []
    loopback = next((name for name in ("lo", "lo0") if name in names), None)
    if loopback is not None:
        for library in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", loopback)


class ProcessGroup:
    """The processes, as each of them sees the others."""

    def __init__(self, store: Store | None, rank: int, size: int, device: torch.device) -> None:
        """Waits for all of them.

        Args:
            store: where they meet; None meets as ``torchrun`` has it.
        """
        self.rank = rank
        self.size = size
        stay_on_this_machine()
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
        # Messages and raw renderings lie in main memory.
        self._plain: Any = dist.new_group(backend="gloo", timeout=PATIENCE) if backend != "gloo" else None

    @property
    def first(self) -> bool:
        """Whether this process owns the files."""
        return self.rank == 0

    def shared(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network with the first one's weights and everybody's gradients."""
        ids = [device.index or 0] if device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids)

    def gather(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The parts ``(…, B)`` of all processes in a row, on the first one; the others get their own back."""
        widths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(widths, torch.tensor([values.shape[-1]]), group=self._plain)
        widest = max(int(w) for w in widths)
        padded = torch.zeros(*values.shape[:-1], widest, dtype=torch.float64)
        padded[..., : values.shape[-1]] = torch.from_numpy(values)
        all_of_them = [torch.empty_like(padded) for _ in range(self.size)] if self.first else None
        dist.gather(padded, all_of_them, group=self._plain)
        if all_of_them is None:
            return values
        return np.concatenate([p[..., : int(w)].numpy() for p, w in zip(all_of_them, widths, strict=True)], -1)

    def tell(self, message: Mapping[str, Any], shares: Sequence[RawBatch] = ()) -> None:
        """Send from the first process: a message to all others, and a share of a batch to each."""
        shapes = [_shapes(share) for share in shares]
        data = torch.frombuffer(bytearray(json.dumps({**message, "shapes": shapes}).encode()), dtype=torch.uint8)
        dist.broadcast(torch.tensor([len(data)]), 0, group=self._plain)
        dist.broadcast(data, 0, group=self._plain)
        for number, share in enumerate(shares, 1):
            dist.send(_packed(share), number, group=self._plain)

    def hear(self) -> tuple[dict[str, Any], RawBatch | None]:
        """Receive in the others: the next message, and the share that came with it."""
        length = torch.zeros(1, dtype=torch.int64)
        dist.broadcast(length, 0, group=self._plain)
        data = torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(data, 0, group=self._plain)
        message: dict[str, Any] = json.loads(data.numpy().tobytes())
        shapes = message.pop("shapes")
        if not shapes:
            return message, None
        mine = shapes[self.rank - 1]
        packed = torch.empty(sum(_size(s, t) for s, t in zip(mine, _TYPES, strict=True)), dtype=torch.uint8)
        dist.recv(packed, 0, group=self._plain)
        return message, _unpacked(packed, mine)


_TYPES = (np.uint8, np.float64, np.int64, np.float64, np.int64, *[np.float64] * 4)


def _shapes(batch: RawBatch) -> list[list[int]]:
    return [list(a.shape) for a in batch.arrays]


def _size(shape: Sequence[int], kind: type) -> int:
    return int(np.prod(shape)) * np.dtype(kind).itemsize


def _packed(batch: RawBatch) -> Tensor:
    pairs = zip(batch.arrays, _TYPES, strict=True)
    return torch.from_numpy(np.concatenate([np.ascontiguousarray(a, t).reshape(-1).view(np.uint8) for a, t in pairs]))


def _unpacked(packed: Tensor, shapes: Sequence[Sequence[int]]) -> RawBatch:
    data = packed.numpy().tobytes()
    arrays, at = [], 0
    for shape, kind in zip(shapes, _TYPES, strict=True):
        size = _size(shape, kind)
        arrays.append(np.frombuffer(data[at : at + size], kind).reshape(shape).copy())
        at += size
    return RawBatch(*arrays)


class Followers:
    """The other processes, as children of the first one."""

    def __init__(self, folder: Path, run_id: str, count: int, device: torch.device, *, resume: bool) -> None:
        """Start ``count - 1`` of them, unless ``torchrun`` did.

        Raises:
            UserError: if they can't be started.
        """
        self._children: list[Child] = []
        self._ended = threading.Event()
        self._folder: Path | None = None
        if "RANK" in os.environ:
            self.process_group = ProcessGroup(None, 0, int(os.environ["WORLD_SIZE"]), device)
            return
        self._folder = Path(tempfile.mkdtemp(prefix="robot-keypoints-"))
        meeting = self._folder / "store"
        command = [sys.executable, str(LAUNCHER), "trainer", "--run", str(folder), "--identity", run_id]
        try:
            for number in range(1, count):
                variables = {
                    "RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(count), STORE: str(meeting),
                    "OMP_NUM_THREADS": str(torch.get_num_threads()),
                }  # fmt: skip
                log = run_folder.log(folder, f"trainer-{number + 1}")
                arguments = [*command, *(["--resume"] if resume else [])]
                self._children.append(Child(f"trainer {number + 1}", arguments, log, variables))
            threading.Thread(target=self._watch, name="followers", daemon=True).start()
            self.process_group = ProcessGroup(meet(meeting, count), 0, count, device)
        except BaseException:
            self.close()
            raise

    def _lost(self) -> str | None:
        """What to say if one of them has ended."""
        for child in self._children:
            if child.exit_code is not None and not self._ended.is_set():
                words = (child.last_words(1) or ["without a word"])[0].removeprefix("error: ")
                return f"A process of the trainer has ended ({words}): see {child.log} and resume the run"
        return None

    def _watch(self) -> None:
        """A group that has lost one of its processes can wait for ever: end instead."""
        while not self._ended.wait(1.0):
            sentence = self._lost()
            if sentence is not None:
                print(f"error: {sentence}", file=sys.stderr, flush=True)
                self._forget()
                os._exit(2)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around what takes all of them.

        Raises:
            UserError: if one of them is lost meanwhile.
        """
        try:
            yield
        except RuntimeError as problem:
            end = time.monotonic() + 0.8
            while time.monotonic() < end:
                sentence = self._lost()
                if sentence is not None:
                    self._ended.set()
                    raise UserError(sentence) from problem
                time.sleep(0.05)
            raise

    @contextmanager
    def share(self, message: Mapping[str, Any], shares: Sequence[RawBatch]) -> Iterator[None]:
        """Around a step that all of them compute: each other process gets the message and its share of the batch.

        Raises:
            UserError: if one of them is lost meanwhile.
        """
        with self.together():
            self.process_group.tell(message, shares)
            yield

    def dismiss(self) -> None:
        """There are no more steps: they end by themselves."""
        self._ended.set()
        self.process_group.tell({"end": True})

    def close(self) -> None:
        """End them."""
        self._ended.set()
        end = time.monotonic() + 1.0
        for child in self._children:
            child.let_go()
        for child in self._children:
            if not child.wait(max(0.0, end - time.monotonic())):
                child.kill()
        self._forget()

    def _forget(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def meet(file: Path, size: int) -> Store:
    """The store in ``file``, which the first who comes makes, for a group of ``size``."""
    return dist.FileStore(str(file), size)  # type: ignore[attr-defined]


def join(device: torch.device) -> ProcessGroup:
    """In one of the others."""
    number, size = rank(), int(os.environ["WORLD_SIZE"])
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return ProcessGroup(None, number, size, device)
    meeting = Path(os.environ[STORE])
    # The first one may be killed and leave the folder behind: this one then loses it, or the pipe to it.
    forget = partial(shutil.rmtree, meeting.parent, ignore_errors=True)
    atexit.register(forget)
    end_with_parent(forget, grace=0.0)
    return ProcessGroup(meet(meeting, size), number, size, device)
