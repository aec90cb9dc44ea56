"""Every operator of the suite.  To add one: write its module, then name it here."""

from conformance.operator import Operator
from conformance.operators.conv2d import CONV2D

OPERATORS: tuple[Operator, ...] = (CONV2D,)
