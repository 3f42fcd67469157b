"""What many tests need: the command line in process, small sets of radiographs, and a small bundle that evaluates."""

from __future__ import annotations

import io
import json
import shutil
import signal
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import small_models

from medsynth_cli.app import main
from medsynth_cli.files import pixels

SHARD = Path(__file__).parents[2] / "shared" / "data" / "nih-val-000.tar"
LABELS = (["Effusion"], [], ["Cardiomegaly", "Effusion"], [])


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Ctrl-C works in the tests and their processes, also when a shell started them in the background, ignoring it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict]:
        """stdout as records."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command line in process: ``run("align", "-", stdin="...")``."""

    def call(*argv: object, stdin: str = "") -> Result:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def radiographs() -> list[tuple[dict, np.ndarray]]:
    """Thirty-two radiographs with labels: what the tokenizer makes of the codebook's source images."""
    import torch

    from medsynth_cli.alignment import codebook
    from medsynth_cli.modality import find
    from medsynth_cli.runtime import bundles
    from medsynth_cli.runtime.conversion import to_images
    from medsynth_cli.text import vocabulary
    from medsynth_cli.tokens import tokenizer

    bundle = bundles.load("cxr-mini")
    book = codebook.of(bundle, None)
    terms = vocabulary.load(find("chest_xray")).terms
    chosen: dict[int, str] = {}
    for (term, _), start in zip(book.words, book.starts, strict=False):
        for entry in range(int(start), int(start) + 4):
            chosen.setdefault(int(book.image[entry]), str(terms[term].label))
    numbers = list(chosen)[:32]
    codes = torch.from_numpy(book.codes[numbers])
    images = to_images(tokenizer.load(bundle, torch.device("cpu")).decode(codes))
    metas = [
        {"id": f"real-{i:03d}", "patient": f"p{i // 2}", "labels": [chosen[n]], "view": "PA", "sex": "F", "age": 50}
        for i, n in enumerate(numbers)
    ]
    return list(zip(metas, images, strict=True))


@pytest.fixture(scope="session")
def write_shard() -> Callable[[Path, list[tuple[dict, np.ndarray]]], Path]:
    """Write metadata and images to a WebDataset shard."""

    def write(path: Path, images: list[tuple[dict, np.ndarray]]) -> Path:
        with tarfile.open(path, "w") as handle:
            for meta, image in images:
                for suffix, data in ((".png", pixels.encode_png(image)), (".json", json.dumps(meta).encode())):
                    member = tarfile.TarInfo(meta["id"] + suffix)
                    member.size = len(data)
                    handle.addfile(member, io.BytesIO(data))
        return path

    return write


@pytest.fixture(scope="session")
def shard(
    radiographs: list[tuple[dict, np.ndarray]],
    tmp_path_factory: pytest.TempPathFactory,
    write_shard: Callable[[Path, list[tuple[dict, np.ndarray]]], Path],
) -> Path:
    """The radiographs as a WebDataset shard."""
    return write_shard(tmp_path_factory.mktemp("data") / "real-000.tar", radiographs)


@pytest.fixture(scope="session")
def chests():
    """Twelve images, uint8 ``(12, 256, 256)``: real radiographs where the data is at hand, else drawn ones."""
    from medsynth_cli.files import datasets

    if SHARD.exists():
        return datasets.stack(islice(datasets.read([SHARD]), 12), 256)
    random = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    lungs = [np.hypot((x + s) * 2.4, y) < w for s, w in zip((-0.4, 0.4) * 6, random.uniform(0.5, 0.9, 12), strict=True)]
    return np.stack([np.clip(190 - 120 * lung + random.normal(0, 12, x.shape), 0, 255) for lung in lungs]).astype(
        np.uint8
    )


@pytest.fixture(scope="session")
def chest_meta():
    """Metadata of the twelve images, made up: four labels sets in turn, two images a patient."""
    return [
        {
            "id": f"chest-{i}",
            "patient": f"patient-{i // 2}",
            "labels": LABELS[i % 4],
            "view": ("PA", "AP", None)[i % 3],
            "sex": ("M", "F", None)[i % 3],
            "age": None if i % 5 == 0 else 20 + i,
        }
        for i in range(12)
    ]


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory, chests, chest_meta):
    """Folder of a bundle: extractor, tokenizer, untrained judge, references ``chests`` and ``trained``."""
    import torch

    from medsynth_cli import modality
    from medsynth_cli.recognition import features, judges, trunks
    from medsynth_cli.runtime import bundles

    bundle = bundles.create(tmp_path_factory.mktemp("bundle") / "small", "small", "chest_xray")
    features.export_features(bundle)
    labels = modality.load("chest_xray").labels
    torch.manual_seed(0)
    judge = trunks.imagenet("lite0", num_classes=0)
    judge.reset_classifier(len(labels))
    config = {"trunk": "lite0", "labels": list(labels), "size_px": 224}
    bundles.write_part(bundle, judges.PART, judge.state_dict(), config)
    shutil.copy(bundles.assets() / "cxr-mini" / "tokenizer.safetensors", bundle.folder)
    bundles.register(bundle, "tokenizer", "tokenizer.safetensors", bundles.load("cxr-mini").config("tokenizer"))
    data = tmp_path_factory.mktemp("chests")
    (data / "meta.jsonl").write_text("".join(json.dumps(meta) + "\n" for meta in chest_meta))
    for meta, chest in zip(chest_meta, chests, strict=True):
        (data / f"{meta['id']}.png").write_bytes(pixels.encode_png(chest))
    assert main(["models", "memory", "--shown", str(data), "-o", str(bundle.folder), "--quiet"]) == 0
    assert main(["models", "reference", str(data), "--name", "chests", "-o", str(bundle.folder), "--quiet"]) == 0
    more = ["--training", "--most", "6", "--quiet"]
    assert main(["models", "reference", str(data), "--name", "trained", "-o", str(bundle.folder), *more]) == 0
    return bundle.folder


SPLIT_OF_PATIENTS = ("train", "train", "test", "test")
VIEW_POSITIONS = ("PA", "LATERAL", "AP")
LABELLERS = ("1.0,,0.0", ",1.0,-1.0", ",,")
"""Made-up values of the columns Cardiomegaly, Pleural Effusion and Lung Opacity."""


@dataclass(frozen=True)
class Mimic:
    """A made copy in the layout of MIMIC-CXR: its folder, and what its images are, in the order of its tables."""

    folder: Path
    ids: list[str]
    pixels: list[np.ndarray]


@pytest.fixture
def make_mimic(tmp_path: Path) -> Callable[..., Mimic]:
    """Write images in the layout of MIMIC-CXR-JPG, or MIMIC-CXR with ``dicom``: three a patient, four patients."""

    def make(images: np.ndarray, name: str = "mimic", dicom: bool = False, labeller: str = "chexpert") -> Mimic:
        folder, ids = tmp_path / name, []
        metadata = ["dicom_id,subject_id,study_id,ViewPosition,Rows,Columns"]
        splits, listed = ["dicom_id,study_id,subject_id,split"], ["subject_id,study_id,dicom_id,path"]
        for index, image in enumerate(images):
            patient = index // 3
            ids.append(f"00000000-00000000-00000000-00000000-{index:08x}")
            subject, study = f"1000000{patient}", f"5000000{patient}"
            path = f"files/p10/p{subject}/s{study}/{ids[-1]}.{'dcm' if dicom else 'jpg'}"
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(_dicom(image, ids[-1]) if dicom else pixels.encode_png(image))
            metadata.append(f"{ids[-1]},{subject},{study},{VIEW_POSITIONS[index % 3]},{len(image)},{len(image.T)}")
            splits.append(f"{ids[-1]},{study},{subject},{SPLIT_OF_PATIENTS[patient % 4]}")
            listed.append(f"{subject},{study},{ids[-1]},{path}")
        tables = {"cxr-record-list.csv": listed} if dicom else {}
        tables |= {} if dicom else {"mimic-cxr-2.0.0-metadata.csv": metadata, "mimic-cxr-2.0.0-split.csv": splits}
        tables |= {} if dicom else {f"mimic-cxr-2.0.0-{labeller}.csv": _labeller(len(images) // 3)}
        for table, lines in tables.items():
            (folder / table).write_text("\n".join(lines) + "\n")
        return Mimic(folder, ids, list(images))

    return make


def _dicom(image: np.ndarray, name: str) -> bytes:
    from medsynth_cli.files import dicom

    return dicom.secondary_capture(image, uid_seed=name, series_seed=name, modality="DX", body_part="CHEST")


def _labeller(patients: int) -> list[str]:
    from medsynth_cli.files.findings import CHEXPERT

    lines = [",".join(("subject_id", "study_id", *CHEXPERT))]
    for patient in range(patients):
        values = LABELLERS[patient % 3].split(",")
        cells = dict(zip(("Cardiomegaly", "Pleural Effusion", "Lung Opacity"), values, strict=True))
        row = [cells.get(column, "") for column in CHEXPERT]
        lines.append(",".join((f"1000000{patient}", f"5000000{patient}", *row)))
    return lines


@pytest.fixture(scope="session")
def judged_by(tmp_path_factory):
    """Gives the observers of an empty bundle whose judge knows the labels named, without weights."""
    import torch

    from medsynth_cli.metrics.observers import Observers
    from medsynth_cli.recognition.judges import Judge
    from medsynth_cli.runtime import bundles

    def observers(labels):
        opened = bundles.create(tmp_path_factory.mktemp("bundle") / "bare", "bare", "chest_xray")
        found = Observers(opened, torch.device("cpu"))
        found.judge = Judge(torch.nn.Identity(), labels, 8, torch.device("cpu"))
        return found

    return observers


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an untrained CLIP."""
    return small_models.save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def small_dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an untrained DINOv2."""
    return small_models.save_dino(tmp_path_factory.mktemp("dino"))
