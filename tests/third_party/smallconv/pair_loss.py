import numpy as np

import gradoracle


@gradoracle.operator("a: n c; b: n c; threshold: c", options={"sharpness": (1.0, 4.0)})
def pair_loss(a, b, threshold, *, sharpness):
    """Return one number per row [N].

        l[n] = sum_c t^2 (1 - e^(-s d^2 / t^2)) / s,  d = a - b,  t^2 = threshold[c]^2 + 1

    (Welsch's loss with a scale for each column; my own notes).
    """
    d, t2 = a - b, threshold * threshold + 1
    return (t2 * (1 - np.exp(-sharpness * d * d / t2))).sum(1) / sharpness
