"""What tells decoded frames from rendered ones, so that a decoder learns to draw sharp ones.

A decoder that is trained by distances alone draws, of what it cannot know, the average: outlines smear. One
that is also to be mistaken for the renderer decides. The discriminator is asked which of two looks more real,
a decoded clip or the rendered one that it should equal (the relativistic pairing GAN: Jolicoeur-Martineau,
2018; with a penalty on gradients at both, R1 and R2: Huang and others, 2024, "The GAN is dead; long live the
GAN! A Modern GAN Baseline"). How much its opinion weighs follows from the size of gradients at the decoder's
last layer (Esser and others, 2021, "Taming Transformers for High-Resolution Image Synthesis", section 3.1).

Shapes: B clips, T pixel frames, H x W pixels, in [-1, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from longlive_env.engine.codec import put_channels_last

_SLOPE = 0.2  # of leaky ReLUs
_FOLD = 2  # pixels along each side that become channels
_LARGEST_WEIGHT = 100.0  # where the opinion's gradients vanish


class FrameDiscriminator(nn.Module):
    """How real four frames in a row look, by parts: an opinion is of 28x28 pixels.

    Args:
        frames: how many it sees.
        width: channels of its first layer.
    """

    def __init__(self, frames: int = 4, width: int = 64) -> None:
        super().__init__()
        self.frames = frames
        self.layers = nn.Sequential(
            nn.Conv2d(3 * frames * _FOLD**2, width, 3, padding=1),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(2 * width, 1, 3, padding=1),
        )
        put_channels_last(self)

    def forward(self, clips: Tensor) -> Tensor:
        """Opinions of clips ``[B, frames, 3, H, W]``, float32 ``[B, 1, H / 4, W / 4]``: more is more real."""
        folded = F.pixel_unshuffle(clips.flatten(1, 2), _FOLD)
        opinions: Tensor = self.layers(folded.contiguous(memory_format=torch.channels_last))
        return opinions.float()


def realism_loss(judge: FrameDiscriminator, decoded: Tensor, rendered: Tensor) -> Tensor:
    """How much less real decoded clips look; gradients reach the clips alone.

    Args:
        judge: gets no gradients.
        decoded: ``[B, frames, 3, H, W]``.
        rendered: the same shape.

    Returns:
        A scalar.
    """
    weights = {name: value.detach() for name, value in judge.named_parameters()}
    opinions = functional_call(judge, weights, (torch.cat((decoded, rendered.to(decoded))),))
    fake, real = opinions.chunk(2)
    return F.softplus(real - fake).mean()


def discriminator_loss(
    judge: FrameDiscriminator, decoded: Tensor, rendered: Tensor, penalty: float = 0.0
) -> Tensor:
    """How often the discriminator takes a decoded clip for the rendered one; gradients reach it alone.

    Args:
        judge: what is trained.
        decoded: ``[B, frames, 3, H, W]``.
        rendered: the same shape.
        penalty: weight of the squared gradients of opinions at both, of which there are many: a mean over
            them. 0 leaves it out, as it costs as much as the rest.

    Returns:
        A scalar.
    """
    both = torch.cat((decoded.detach(), rendered.to(decoded)))
    fake, real = judge(both).chunk(2)
    loss = F.softplus(fake - real).mean()
    if not penalty:
        return loss
    with torch.autocast(both.device.type, enabled=False):
        seen = both.float().requires_grad_(True)
        opinions = judge(seen)
        (slopes,) = torch.autograd.grad(opinions.sum(), seen, create_graph=True)
    paid: Tensor = loss + penalty * slopes.square().sum() / opinions.numel()
    return paid


def balance(distance: Tensor, realism: Tensor, last: Tensor) -> Tensor:
    """What realism has to be multiplied by for its gradient at a layer to equal that of a distance.

    Args:
        distance: a scalar.
        realism: another.
        last: weights of the layer, on both graphs, which stay.

    Returns:
        A scalar without gradients.
    """
    sizes = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (distance, realism)]
    weight: Tensor = (sizes[0] / (sizes[1] + 1e-6)).clamp(max=_LARGEST_WEIGHT).detach()
    return weight
