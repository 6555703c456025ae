"""Sharding: each process keeps a part of every weight, and gathers a block's weights while that block computes.

Rajbhandari and others 2020 (ZeRO, arXiv:1910.02054), by PyTorch's `fully_shard`.
"""

from __future__ import annotations

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from malmoi.parallel.stacks import BLOCKS


def shard_blocks(root: nn.Module, mesh: DeviceMesh, keep: bool = False) -> None:
    """Divide all parameters of `root`, a block at a time and the rest together, in place.

    Gradients become sums over the mesh, not means.

    Args:
        root: the module whose forward pass computes a loss.
        mesh: one dimension, the processes that share the parameters; or two, the first one of replicas.
        keep: keep a block's weights from its forward to its backward pass, as a pipeline needs.
    """
    for name, module in root.named_modules():
        if isinstance(module, nn.ModuleList) and name.rsplit(".", 1)[-1] == BLOCKS:
            for block in module:
                if next(block.parameters(), None) is not None:
                    fully_shard(block, mesh=mesh, reshard_after_forward=not keep)
    fully_shard(root, mesh=mesh, reshard_after_forward=False)
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # other ways to divide are for NCCL alone


def settle(root: nn.Module) -> None:
    """Let parameters that were given memory after they were divided move to where they stay from now on."""
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.unshard()
            module.reshard()


def reshard(root: nn.Module) -> None:
    """Let go of gathered weights that a backward or an evaluation has left: an update would leave them behind."""
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
