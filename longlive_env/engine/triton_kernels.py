"""Triton kernels, and the operators that expose them to PyTorch and its compiler; needs Triton to load.

`fused` documents what each computes and decides where it runs. If TRITON_INTERPRET=1 is set when this module
loads, they run on a CPU, slowly, for tests. Operators are opaque to the compiler, but nothing is lost: before
and after them come matrix products and attention, which it does not fuse either.

Shapes: B worlds, S tokens of a pass, E model width, P pairs of a head, T tokens a frame.
"""

from contextlib import nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _turned(x, weight, cos, sin, eps: tl.constexpr, dim: tl.constexpr, block: tl.constexpr):
    """One row, normalised and rotated: float32 [block]."""
    at = tl.arange(0, block)
    inside = at < dim
    row = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    inverse = tl.rsqrt(tl.sum(row * row, 0) / dim + eps)
    row = row * inverse * tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    row = row.to(x.dtype.element_ty).to(tl.float32)  # the plain version rounds here, too
    even, odd = tl.split(tl.reshape(row, (block // 2, 2)))
    return tl.reshape(tl.join(even * cos - odd * sin, even * sin + odd * cos), (block,))


@triton.jit(do_not_specialize=["tokens", "frame_tokens", "turns_of_world"])
def _norm_rotate_store(
    q, k, v, weight_q, weight_k, cos, sin, slots, out, keys, values,
    q_world, q_token, k_world, k_token, v_world, v_token,
    tokens, frame_tokens, turns_of_world,
    eps: tl.constexpr, dim: tl.constexpr, pairs: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """One token of one world."""
    token, world = tl.program_id(0), tl.program_id(1).to(tl.int64)
    at, pair = tl.arange(0, block), tl.arange(0, block // 2)
    inside = at < dim
    turn = world * turns_of_world + token * pairs + pair % pairs
    c = tl.load(cos + turn, mask=pair < dim // 2, other=0.0)
    s = tl.load(sin + turn, mask=pair < dim // 2, other=0.0)
    frame = tl.load(slots + world * (tokens // frame_tokens) + token // frame_tokens)
    place = (frame * frame_tokens + token % frame_tokens) * dim + at
    turned = _turned(q + world * q_world + token * q_token, weight_q, c, s, eps, dim, block)
    tl.store(out + (world * tokens + token) * dim + at, turned.to(out.dtype.element_ty), mask=inside)
    turned = _turned(k + world * k_world + token * k_token, weight_k, c, s, eps, dim, block)
    tl.store(keys + place, turned.to(keys.dtype.element_ty), mask=inside)
    value = tl.load(v + world * v_world + token * v_token + at, mask=inside)
    tl.store(values + place, value, mask=inside)


@torch.library.custom_op("longlive::norm_rotate_store", mutates_args=("keys", "values"))
def norm_rotate_store(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    weight_q: Tensor,
    weight_k: Tensor,
    eps: float,
    cos: Tensor,
    sin: Tensor,
    slots: Tensor,
    keys: Tensor,
    values: Tensor,
) -> Tensor:
    """See `fused.norm_rotate_store`."""
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    assert keys.is_contiguous() and values.is_contiguous() and cos.is_contiguous() and sin.is_contiguous()
    worlds, tokens, dim = q.shape
    pairs = cos.shape[-1]
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    with torch.cuda.device(q.device) if q.is_cuda else nullcontext():
        _norm_rotate_store[(tokens, worlds)](
            q, k, v, weight_q, weight_k, cos, sin, slots, out, keys, values,
            q.stride(0), q.stride(1), k.stride(0), k.stride(1), v.stride(0), v.stride(1),
            tokens, keys.shape[1], 0 if cos.shape[0] == 1 else tokens * pairs,
            eps=eps, dim=dim, pairs=pairs, block=triton.next_power_of_2(dim),
        )  # fmt: skip
    return out


@norm_rotate_store.register_fake
def _(q, k, v, weight_q, weight_k, eps, cos, sin, slots, keys, values):
    return torch.empty(q.shape, dtype=q.dtype, device=q.device)
