"""Scores of synthetic images: one file each, pure functions on arrays, and a `score` for `medsynth evaluate`."""

METRICS = {
    "fd": "medsynth_cli.metrics.frechet:score",
    "kid": "medsynth_cli.metrics.kernel:score",
    "mmd": "medsynth_cli.metrics.kernel:score_gaussian",
    "prdc": "medsynth_cli.metrics.prdc:score",
    "vendi": "medsynth_cli.metrics.vendi:score",
    "auroc": "medsynth_cli.metrics.auroc:score",
    "f1": "medsynth_cli.metrics.f1:score",
    "calibration": "medsynth_cli.metrics.calibration:score",
    "side": "medsynth_cli.metrics.side:score",
    "niqe": "medsynth_cli.metrics.niqe:score",
    "niqe-matlab": "medsynth_cli.metrics.niqe:score_matlab",
    "niqe-radiographs": "medsynth_cli.metrics.niqe:score_radiographs",
    "ms-ssim": "medsynth_cli.metrics.msssim:score",
}
"""Name of a metric -> ``module:object``, a function `comparison.Comparison` -> name of a row -> row."""
