"""Our kernels beside what PyTorch computes, on CUDA, or as a script in Triton's interpreter on a CPU."""

import itertools
from dataclasses import replace
from typing import Any

import torch

from longlive_env.engine.config import WorldConfig
from longlive_env.engine.fused import choose_fused, norm_rotate_store
from longlive_env.engine.merge import merge_projections
from longlive_env.engine.rope import Rotation
from longlive_env.engine.world import World

HEADS, WIDTH, FRAMES, TOKENS, CONTEXT = 3, 8, 2, 3, 4  # the model's width is not a power of two


def inputs(device: str, dtype: torch.dtype, worlds: int, together: bool, merged: bool) -> list[Any]:
    """Arguments of `norm_rotate_store`, the buffers filled."""
    torch.manual_seed(0)
    dim, count = HEADS * WIDTH, FRAMES * TOKENS
    q, k, v = torch.randn(worlds, count, 3 * dim).to(device, dtype).chunk(3, -1)
    if not merged:
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    weights = torch.rand(2, dim).to(device, dtype).unbind()
    angles = torch.randn(1 if together else worlds, count, 1, WIDTH // 2)
    rotation = Rotation(angles.cos().to(device), angles.sin().to(device))
    slots = torch.tensor([[world * CONTEXT + 3, world * CONTEXT] for world in range(worlds)]).flatten()
    buffers = [torch.randn(worlds * CONTEXT, TOKENS, HEADS, WIDTH).to(device, dtype) for _ in range(2)]
    return [q, k, v, *weights, 1e-6, rotation, slots.to(device), *buffers]


def load(device: str) -> None:
    """Make the operator known, as choosing it does."""
    assert choose_fused("triton", torch.device(device), torch.float32, (1, 1, 1), False) == "triton"


def check_kernel(device: str) -> None:
    """Queries, keys and values are those of PyTorch; other slots stay as they were."""
    load(device)
    for dtype, worlds, together, merged in itertools.product(
        (torch.float32, torch.bfloat16), (1, 2), (True, False), (True, False)
    ):
        given = inputs(device, dtype, worlds, together, merged)
        want, got = list(given), list(given)
        for arguments in (want, got):
            arguments[8:10] = [buffer.clone() for buffer in arguments[8:10]]
        rotated = [norm_rotate_store(kernel, *a) for kernel, a in (("plain", want), ("triton", got))]
        close = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
        torch.testing.assert_close(rotated[1], rotated[0], **close)
        for mine, theirs, before in zip(got[8:10], want[8:10], given[8:10], strict=True):
            torch.testing.assert_close(mine, theirs, **close)
            assert torch.equal(*(x.unflatten(0, (worlds, CONTEXT))[:, 1:3] for x in (mine, before)))
            assert not torch.equal(mine, before)


def check_compiled(device: str, backend: str) -> None:
    """The compiler takes the operator whole, and the cache changes where it lies."""
    load(device)
    given = inputs(device, torch.float32, 1, True, True)
    want = [norm_rotate_store("plain", *given), given[8].clone(), given[9].clone()]
    given[8].zero_()

    def run(*arguments: Any) -> torch.Tensor:
        return norm_rotate_store("triton", *arguments) * 2

    got = torch.compile(run, fullgraph=True, dynamic=False, backend=backend)(*given)
    torch.testing.assert_close(got, 2 * want[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(given[8][3], want[1][3], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(given[9], want[2], rtol=1e-5, atol=1e-5)


def check_world(config: WorldConfig, device: str, mode: Any = "off") -> None:
    """A world generates the same: first blocks and a recache, merged as worlds on CUDA are."""
    results = []
    for fused in ("plain", "triton"):
        world = World.from_config(config, device=device)
        merge_projections(world.transformer)
        world.transformer.fuse(fused)
        world.compile(mode if fused == "triton" else "off")
        rollout, out = world.start("a red cat"), []
        for block in range(2 if device == "cpu" else 6):
            if block == 1:
                rollout.switch_prompt("a blue dog")
            out.append(rollout.step_latents().cpu())
        results.append(torch.cat(out, 1))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    from small_config import SMALL

    check_kernel("cpu")
    check_compiled("cpu", "aot_eager")
    check_world(replace(SMALL, sampler=replace(SMALL.sampler, steps=(1000,))), "cpu")
