"""Settings of PyTorch that a caller may have changed, and under which an env must not run.

A seed must mean the same frames in a training loop under autocast as in a script without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

_KINDS = ("cpu", "cuda")  # devices that worlds run on


@contextlib.contextmanager
def plain_settings() -> Iterator[None]:
    """Run without the caller's autocast, default device and default type, which are back in force afterwards.

    Those of the engine are unaffected: a world has the type and the device that it was loaded with.
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
        yield
