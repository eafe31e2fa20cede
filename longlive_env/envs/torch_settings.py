"""Settings of PyTorch that a caller may have changed, and under which an env must not run.

A seed must mean the same frames in a training loop under autocast as in a script without it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch

_KINDS = ("cpu", "cuda")  # devices that worlds run on
_ONEDNN: Any = torch.backends.mkldnn  # whose precisions its type does not list
_PRODUCTS = (_ONEDNN.matmul, _ONEDNN.conv, torch.backends.cuda.matmul)
_EXACT = {"none", "ieee"}  # precisions of float32 products that are float32's own


@contextlib.contextmanager
def plain_settings() -> Iterator[None]:
    """Run without the caller's autocast, default device and type, and coarser products of float32 numbers.

    They are back in force afterwards. Those of the engine are unaffected: a world has the type and the device
    that it was loaded with.
    """
    with contextlib.ExitStack() as stack:
        default = torch.get_default_dtype()
        if default is not torch.float32:
            stack.callback(torch.set_default_dtype, default)
            torch.set_default_dtype(torch.float32)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in _KINDS:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(_exact_products)
        yield


class _ExactProducts:
    """In its `with` statement, products of float32 numbers are as precise as PyTorch's are by default.

    PyTorch keeps one precision for all matrix products (`torch.set_float32_matmul_precision`), and one for
    each backend and operation beside it, of the whole process. Setting the former sets the latter too, so
    that both agree, on which its kernels insist. Of several threads the first one in sets them, and the last
    one out restores them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0  # threads
        self._before: tuple[str, list[str]] | None = None  # what was coarser: the overall one, and the others

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1 and not {one.fp32_precision for one in _PRODUCTS} <= _EXACT:
                self._before = _overall_precision(), [one.fp32_precision for one in _PRODUCTS]
                torch.set_float32_matmul_precision("highest")
                for one in _PRODUCTS:
                    one.fp32_precision = "ieee"

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._before is not None:
                overall, precisions = self._before
                self._before = None
                torch.set_float32_matmul_precision(overall)
                for one, precision in zip(_PRODUCTS, precisions, strict=True):
                    one.fp32_precision = "none"  # which is what `torch.backends.fp32_precision` says
                    if one.fp32_precision != precision:
                        one.fp32_precision = precision


_exact_products = _ExactProducts()


def _overall_precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # a backend's was set alone, so that they disagree
        return "highest"
