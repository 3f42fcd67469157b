"""How like a patch of codes a place of an image is, for finding patches that were copied into images.

An image that was made with the codes of a patch and then decoded has other codes when it is encoded again: a third
of them change, most to codes whose vectors are near. So vectors are compared, not codes; each window less its mean,
since the mean is what all smooth places have in common. benchmarks/codebook.md says how many copies that finds.

Shapes: B images, N patches, D dimensions of a code vector, g grid, p side of a patch, v = g - p + 1.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

CERTAIN = 0.9999
"""Cosine above which two windows count as the same."""
SHORTEST = 1e-4
"""Length below which a centred window is uniform but for rounding; those of codes that differ are above 0.01."""


def likeness(vectors_BDgg: Tensor, patches_NDpp: Tensor) -> tuple[Tensor, Tensor]:
    """Likeness of each image and patch, where they are most alike.

    Args:
        vectors_BDgg: code vectors of images.
        patches_NDpp: code vectors of patches.

    Returns:
        Fisher's z of the cosine of the centred vectors of patch and window, ``(B, N)``, whose spread does not
        depend on how alike they are; and places in [0, v²), row by row.
    """
    side = patches_NDpp.shape[-1]
    kernels = _centred(patches_NDpp.float().flatten(2)).unflatten(2, (side, side))
    kernels = F.normalize(kernels.flatten(1), dim=1, eps=1e-6).view_as(kernels)
    windows = F.unfold(vectors_BDgg.float(), side).unflatten(1, (-1, side**2))  # (B, D, p², v²)
    lengths = (windows - windows.mean(dim=2, keepdim=True)).square().sum(dim=(1, 2)).sqrt()
    # A centred kernel takes no notice of a window's mean: its convolution is that with the centred window.
    products = F.conv2d(vectors_BDgg.float(), kernels).flatten(2)
    cosines, places = (products / lengths.clamp_min(SHORTEST)[:, None]).max(dim=2)
    return cosines.clamp(-CERTAIN, CERTAIN).atanh(), places


def _centred(patches_NDq: Tensor) -> Tensor:
    return patches_NDq - patches_NDq.mean(dim=2, keepdim=True)


def vectors_of(table_KD: Tensor, codes: Tensor) -> Tensor:
    """Code vectors ``(B, D, h, w)`` of codes int64 ``(B, h, w)``, from the table of all of them."""
    return table_KD[codes].movedim(-1, 1)
