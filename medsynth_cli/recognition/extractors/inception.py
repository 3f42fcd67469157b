"""Clean-fid's Inception-v3, the network of the published FID, at 299 px after clean-fid's resizing."""

from __future__ import annotations

import platform
import socket
import urllib.error
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from medsynth_cli.errors import MedsynthError
from medsynth_cli.recognition.extractors import Extractor
from medsynth_cli.recognition.observers import Observer

if TYPE_CHECKING:
    from medsynth_cli.runtime.bundles import Bundle

NAME = "inception-v3"
FILE = "inception-2015-12-05.pt"
FETCH_SECONDS = 10.0


def load(bundle: Bundle, device: torch.device, model: str = "") -> Observer:
    """What says the 2048 pooled features of an image.

    The weights are looked for, and fetched to, where clean-fid keeps them.

    Raises:
        MedsynthError: they are not there and cannot be fetched.
    """
    folder = Path("./" if platform.system() == "Windows" else "/tmp")
    fetch(folder)
    from cleanfid.inception_torchscript import InceptionV3W
    from cleanfid.resize import make_resizer

    network = InceptionV3W(str(folder), download=False).to(device).eval()
    resize = make_resizer("PIL", quantize_after=False, filter="bicubic", output_size=(299, 299))

    def forward(images: Tensor) -> Tensor:
        gray = [resize(image[..., None].repeat(3, axis=-1)) for image in images.cpu().numpy()]
        return network(torch.from_numpy(np.stack(gray)).permute(0, 3, 1, 2).float().to(device))

    return Observer(NAME, "clean-fid", forward, device)


def fetch(folder: Path) -> None:
    """Let clean-fid fetch the weights, without leaving half a file when that fails.

    Raises:
        MedsynthError: they cannot be fetched.
    """
    file = folder / FILE
    if file.is_file():
        return
    from cleanfid.downloads_helper import check_download_inception

    usual = socket.getdefaulttimeout()
    socket.setdefaulttimeout(FETCH_SECONDS)
    complete = False
    try:
        check_download_inception(fpath=str(folder))
        complete = True
    except (urllib.error.URLError, OSError) as error:
        raise MedsynthError(
            f"the Inception weights are not at {file} and could not be fetched ({error})",
            f"copy {FILE} there, as clean-fid's documentation says",
        ) from error
    finally:
        socket.setdefaulttimeout(usual)
        if not complete:
            file.unlink(missing_ok=True)


EXTRACTOR = Extractor("Inception", load, figures={"FD": "FID", "FD∞": "FID∞", "KID": "KID"})
