"""Words that say on which side, and how much."""

from __future__ import annotations

SIDES = {
    **dict.fromkeys(("left", "lt", "leftward", "l", "leftsided"), "left"),
    **dict.fromkeys(("right", "rt", "rightward", "r", "rightsided"), "right"),
    **dict.fromkeys(("levoscoliosis", "levocurvature", "levo", "levorotoscoliosis", "levoconvex"), "left"),
    **dict.fromkeys(("dextroscoliosis", "dextrocurvature", "dextro", "dextrorotoscoliosis", "dextroconvex"), "right"),
    **dict.fromkeys(("bilateral", "bilaterally", "both", "bibasilar", "bibasal", "biapical"), "bilateral"),
}
SIDE_NAMES = ("left", "right", "bilateral")
NO_SIDE = frozenset(("ventricle", "ventricular", "atrium", "atrial"))
"""Words after which left and right name a chamber of the heart."""
SEVERITIES = {
    **dict.fromkeys(("mild", "mildly", "minimal", "minimally", "small", "slight", "slightly", "tiny", "trace"), "mild"),
    **dict.fromkeys(("subtle", "minor", "faint", "minimum"), "mild"),
    **dict.fromkeys(("moderate", "moderately", "medium"), "moderate"),
    **dict.fromkeys(("severe", "severely", "large", "marked", "markedly", "massive", "extensive", "huge"), "severe"),
    **dict.fromkeys(("gross", "advanced"), "severe"),
}
SEVERITY_NAMES = ("mild", "moderate", "severe")
