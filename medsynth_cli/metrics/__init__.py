"""Scores of synthetic images: one file each, pure functions on arrays, and a `score` for `medsynth evaluate`."""

METRICS = {
    "fd": "medsynth_cli.metrics.frechet:score",
    "kid": "medsynth_cli.metrics.kernel:score",
    "mmd": "medsynth_cli.metrics.kernel:score_gaussian",
    "prdc": "medsynth_cli.metrics.prdc:score",
    "vendi": "medsynth_cli.metrics.vendi:score",
    "copies": "medsynth_cli.metrics.copies:score",
    "authenticity": "medsynth_cli.metrics.authenticity:score",
    "re-identification": "medsynth_cli.metrics.reidentification:score",
    "key-patches": "medsynth_cli.metrics.key_patches:score",
    "auroc": "medsynth_cli.metrics.auroc:score",
    "f1": "medsynth_cli.metrics.f1:score",
    "calibration": "medsynth_cli.metrics.calibration:score",
    "side": "medsynth_cli.metrics.side:score",
    "report-alignment": "medsynth_cli.metrics.report_alignment:score",
    "utility": "medsynth_cli.metrics.utility:score",
    "shortcuts": "medsynth_cli.metrics.shortcuts:score",
    "niqe": "medsynth_cli.metrics.niqe:score",
    "niqe-matlab": "medsynth_cli.metrics.niqe:score_matlab",
    "niqe-radiographs": "medsynth_cli.metrics.niqe:score_radiographs",
    "ms-ssim": "medsynth_cli.metrics.msssim:score",
}
"""Name of a metric -> ``module:object``, a function `comparison.Comparison` -> name of a row -> row."""

DEFAULT = ("fd", "kid", "prdc", "vendi", "copies", "auroc", "niqe", "niqe-radiographs")
"""Metrics that are computed when none are named."""
