"""A discriminator of decoded and rendered frames, from which a decoder learns to draw sharp ones.

A decoder trained only by distances draws the average of whatever it cannot know, so outlines smear. One that
must also pass for the renderer commits to one version. The discriminator is asked which looks more real, a
decoded clip or the rendered one that it should equal (the relativistic pairing GAN: Jolicoeur-Martineau,
2018; with a penalty on gradients at both, R1 and R2: Huang and others, 2024, "The GAN is dead; long live the
GAN! A Modern GAN Baseline"). The weight of its opinion follows from the size of gradients at the decoder's
last layer (Esser and others, 2021, "Taming Transformers for High-Resolution Image Synthesis", section 3.1).
It judges brightness: decoded clips are shown to it in the colours of the rendered ones.

Shapes: B clips, T pixel frames, H x W pixels, in [-1, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from longlive_env.engine.codec import put_channels_last
from longlive_env.engine.devices import without_autocast

_SLOPE = 0.2  # slope of leaky ReLUs
_LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in brightness
_FOLD = 2  # pixels along each side that become channels
_LARGEST_WEIGHT = 100.0  # if the opinion's gradients vanish


def in_rendered_colours(decoded: Tensor, rendered: Tensor) -> Tensor:
    """Decoded clips as bright as they are, in the colours of the rendered ones.

    A decoder that must look sharp where it cannot know draws grain. Judged by brightness alone, it draws none
    in colour. Colours remain averages, and the eye forgives soft colours, as video formats have long known.

    Args:
        decoded: decoded clips ``[B, T, 3, H, W]``.
        rendered: rendered clips of the same shape.

    Returns:
        Clips of the same shape; gradients reach the decoded clips' luma (ITU-R BT.601).
    """
    luma = torch.tensor(_LUMA, dtype=decoded.dtype, device=decoded.device).view(3, 1, 1)
    return rendered + ((decoded - rendered) * luma).sum(dim=-3, keepdim=True)


class FrameDiscriminator(nn.Module):
    """Judges how real four frames in a row look; each opinion covers 28x28 pixels.

    Args:
        frames: number of frames it sees.
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
        """Opinions of clips ``[B, frames, 3, H, W]``, float32 ``[B, 1, H / 4, W / 4]``: high means real."""
        folded = F.pixel_unshuffle(clips.flatten(1, 2), _FOLD)
        opinions: Tensor = self.layers(folded.contiguous(memory_format=torch.channels_last))
        return opinions.float()


def realism_loss(judge: FrameDiscriminator, decoded: Tensor, rendered: Tensor) -> Tensor:
    """Measure how much less real decoded clips look; gradients reach only the clips.

    Args:
        judge: discriminator, which gets no gradients.
        decoded: decoded clips ``[B, frames, 3, H, W]``.
        rendered: rendered clips of the same shape.

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
    """Measure how readily the discriminator mistakes decoded clips for rendered ones; trains only it.

    Args:
        judge: discriminator to train.
        decoded: decoded clips ``[B, frames, 3, H, W]``.
        rendered: rendered clips of the same shape.
        penalty: weight of the squared gradients of opinions at both, a mean over opinions. 0 leaves the
            penalty out, as it costs as much as the rest.

    Returns:
        A scalar.
    """
    both = torch.cat((decoded.detach(), rendered.to(decoded)))
    fake, real = judge(both).chunk(2)
    loss = F.softplus(fake - real).mean()
    if not penalty:
        return loss
    with without_autocast(both.device):
        seen = both.float().requires_grad_(True)
        opinions = judge(seen)
        (slopes,) = torch.autograd.grad(opinions.sum(), seen, create_graph=True)
    paid: Tensor = loss + penalty * slopes.square().sum() / opinions.numel()
    return paid


def balance(distance: Tensor, realism: Tensor, last: Tensor) -> Tensor:
    """Factor of realism that makes its gradient at a layer equal that of a distance.

    Args:
        distance: a scalar.
        realism: another scalar.
        last: weights of the layer, which is part of both graphs; these are retained.

    Returns:
        A scalar without gradients.
    """
    sizes = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (distance, realism)]
    weight: Tensor = (sizes[0] / (sizes[1] + 1e-6)).clamp(max=_LARGEST_WEIGHT).detach()
    return weight
