"""A wrong answer without axes, as of a loss, is reported like any other."""

import json
from types import SimpleNamespace

import numpy as np

import gradoracle
from gradoracle.conformance.reports.certificate_json import content_of
from gradoracle.implementations import im2col


def test_a_wrong_loss_is_in_the_certificate(tmp_path):
    def cross_entropy(logits, target, *, reduction):
        loss = im2col.cross_entropy(logits, target, reduction=reduction)
        return np.asarray(loss + loss.dtype.type(1))

    backend = SimpleNamespace(cross_entropy=cross_entropy, contract={"dtypes": ["float32"]})
    certificate = gradoracle.check(backend, operators=["cross_entropy"], examples=5, seed=1)
    stored = content_of(certificate.to_json())
    reports = [one["mismatch"] for one in stored["outcomes"] if one["mismatch"]]
    compared = reports[0]["compared"]
    assert compared["shape"] == compared["start"] == []
    got, want, wrong = (compared[name]["data"] for name in ("got", "want", "wrong"))
    assert len(got) == len(want) == 1
    assert json.loads(json.dumps(wrong)) == [True]
