"""The formulas of convolutional networks, forward and every gradient, as literal loops.

Every function has the name, the arguments and the meaning that the protocol gives it, so this
package is a backend as well: slow, and right.
"""

from oracle.conv2d import conv2d, conv2d_grad_bias, conv2d_grad_input, conv2d_grad_weight

__all__ = ["conv2d", "conv2d_grad_bias", "conv2d_grad_input", "conv2d_grad_weight"]
