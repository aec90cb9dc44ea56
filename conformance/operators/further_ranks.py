"""The records of one and of three spatial axes, beside those of two, and power-average pooling."""

from gradoracle.conformance.operators.adaptive_pool import (
    ADAPTIVE_AVG_POOL1D,
    ADAPTIVE_AVG_POOL3D,
    ADAPTIVE_MAX_POOL1D,
    ADAPTIVE_MAX_POOL3D,
)
from gradoracle.conformance.operators.interpolate import (
    INTERPOLATE_LINEAR1D,
    INTERPOLATE_NEAREST1D,
    INTERPOLATE_NEAREST3D,
    INTERPOLATE_TRILINEAR3D,
)
from gradoracle.conformance.operators.lp_pool import LP_POOL1D, LP_POOL2D, LP_POOL3D
from gradoracle.conformance.operators.max_unpool import MAX_UNPOOL1D, MAX_UNPOOL3D
from gradoracle.conformance.operators.padding import KINDS_OF_PADS

FURTHER_RANKS = (
    LP_POOL2D, LP_POOL1D, LP_POOL3D, ADAPTIVE_AVG_POOL1D, ADAPTIVE_AVG_POOL3D,
    ADAPTIVE_MAX_POOL1D, ADAPTIVE_MAX_POOL3D, INTERPOLATE_LINEAR1D, INTERPOLATE_TRILINEAR3D,
    INTERPOLATE_NEAREST1D, INTERPOLATE_NEAREST3D, MAX_UNPOOL1D, MAX_UNPOOL3D,
    *(of[rank] for of in KINDS_OF_PADS for rank in (1, 3)),
)  # fmt: skip
