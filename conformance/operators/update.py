"""The batch mean and the step of gradient descent: formulas, shapes and PyTorch witnesses."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gradoracle import oracle
from gradoracle.conformance.drawing.choices import FAR, THREADS
from gradoracle.conformance.drawing.values import FLOATS, large_mean, only_the_last, styles
from gradoracle.conformance.operators import arrays, shape_cover
from gradoracle.conformance.operators.record import Arguments, Corner, Operator, Styles

RATES = (
    0.5,
    0.125,
    0.1,
    0.001,
    1.0,
    0.0,
    3.0,
    1e-8,
    1e-4 / 3,
    100.0,
    1e3,
)  # as float64 has them: see `Operator.call`


def _mean_arguments(sizes: Mapping[str, int]) -> Arguments:
    shape = arrays.shape_of(sizes)
    if shape[0] < 1 or len(shape) < 2:
        raise ValueError(f"there must be an image's gradient to average, got {[*shape]}")
    return Arguments({"gradient_per_image": shape}, {})


def _step_arguments(sizes: Mapping[str, int]) -> Arguments:
    shape = arrays.shape_of(sizes)
    return Arguments(
        {"parameter": shape, "gradient": shape}, {"learning_rate": RATES[sizes["rate"]]}
    )


def _mean_witness(torch: Any) -> Callable[..., Any]:
    def batch_mean(gradient_per_image: Any) -> Any:
        return torch.mean(gradient_per_image, dim=0)

    return batch_mean


def _step_witness(torch: Any) -> Callable[..., Any]:
    def sgd_step(parameter: Any, gradient: Any, *, learning_rate: float) -> Any:
        moved = torch.nn.Parameter(parameter.clone())
        moved.grad = gradient
        torch.optim.SGD([moved], lr=learning_rate, foreach=False).step()
        return moved.detach()

    return sgd_step


(LAST,) = styles(only_the_last)
ONE_COLUMN = {"axes": 2, **dict.fromkeys(arrays.AXES, 1)}
BATCH_MEAN = Operator(
    formula=oracle.batch_mean,
    gradients={},
    geometry=partial(arrays.array, options={}, empty=False, least=2),
    arguments=_mean_arguments,
    witness=_mean_witness,
    styles=Styles(floats=(*FLOATS, *styles(large_mean))),
    share=0.3,
    covers=shape_cover.elementwise({}, least=2),
    corners=(
        *arrays.corners({}),
        *(
            Corner(f"{count} images, the last one alone", {**ONE_COLUMN, "images": count}, LAST)
            for count in (65, THREADS + 1, FAR)
        ),
    ),
)
SGD_STEP = Operator(
    formula=oracle.sgd_step,
    gradients={},
    geometry=partial(arrays.array, options={"rate": (0, len(RATES) - 1)}),
    arguments=_step_arguments,
    witness=_step_witness,
    share=0.3,
    covers=shape_cover.elementwise({"rate": range(len(RATES))}),
    corners=arrays.corners({"rate": 0}, each={"rate": (0, len(RATES) - 1)}),
)
