"""Scores of synthetic images: one file each, pure functions on arrays, and a `score` for `medsynth evaluate`."""

METRICS = {
    "fd": "medsynth_cli.metrics.frechet:score",
    "kid": "medsynth_cli.metrics.kernel:score",
    "prdc": "medsynth_cli.metrics.prdc:score",
    "auroc": "medsynth_cli.metrics.auroc:score",
    "niqe": "medsynth_cli.metrics.niqe:score",
    "ms-ssim": "medsynth_cli.metrics.msssim:score",
}
"""Name of a metric -> ``module:object``, a function `comparison.Comparison` -> name of a row -> row."""
