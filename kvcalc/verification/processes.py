"""One process a rank: what `torchrun` starts. Without it, one process takes the ranks one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.verification.torchrun import place_here, processes_started

if TYPE_CHECKING:
    from kvcalc.verification.scope import Rank, Scope

T = TypeVar("T")


class Processes(NamedTuple):
    """The processes that share a verification.

    Attributes:
        size: how many; 1 without torchrun.
        number: of this one.
        local_index: on this machine: the GPU it takes.
        group: those that share this one's pipeline stage.
    """

    size: int = 1
    number: int = 0
    local_index: int = 0
    group: dist.ProcessGroup | None = None

    def ranks(self, scope: Scope) -> list[Rank]:
        """The ranks that this process plays."""
        return scope.ranks if self.size == 1 else [scope.ranks[self.number]]

    def add_up(self, part: Tensor, device: torch.device) -> Tensor:
        """The sum over the processes of a stage, sent through the GPUs' own network where `device` is one."""
        if self.size == 1:
            return part
        sent = part.to(device)
        dist.all_reduce(sent, group=self.group)
        return sent.to(part.device)

    def gather(self, own: T) -> list[T]:
        """What every process has, in order."""
        if self.size == 1:
            return [own]
        everyone: list[Any] = [None] * self.size
        dist.all_gather_object(everyone, own)
        return everyone

    def together(self, work: Callable[[], T]) -> T:
        """Do a piece of work; where it fails in one process, it fails in all, so that none waits for another.

        Raises:
            KvcalcError: the first process's.
        """
        if self.size == 1:
            return work()
        outcome: T | KvcalcError
        try:
            outcome = work()
        except KvcalcError as error:
            outcome = type(error)(f"rank {self.number}: {error}")
        except Exception as error:  # noqa: BLE001  # the other processes must hear of it
            outcome = CannotRunError(f"rank {self.number}: {type(error).__name__}: {error}")
        for failure in self.gather(outcome if isinstance(outcome, KvcalcError) else None):
            if failure is not None:
                raise failure
        return cast("T", outcome)


@contextmanager
def processes(tp: int, pp: int) -> Iterator[Processes]:
    """Join the processes that torchrun has started, one for each rank of a replica.

    Raises:
        KvcalcError: there are not as many as ranks.
    """
    count = processes_started()
    if count == 1:
        yield Processes()
        return
    if count != tp * pp:
        raise KvcalcError(
            f"--tp: torchrun started {count} processes for tp {tp} x pp {pp} = {tp * pp} ranks; "
            f"start one a rank: torchrun --nproc-per-node {tp * pp} -m kvcalc verify ..."
        )
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if _has_nccl() else "gloo")
    except (ValueError, RuntimeError) as error:
        raise CannotRunError(f"torchrun's processes do not find each other: {str(error).splitlines()[0]}") from error
    try:
        index = dist.get_rank()
        stages = [dist.new_group([stage * tp + place for place in range(tp)]) for stage in range(pp)]
        yield Processes(count, index, place_here(), stages[index // tp])
    finally:
        stages = []
        dist.destroy_process_group()


def _has_nccl() -> bool:
    return torch.cuda.is_available() and dist.is_nccl_available()
