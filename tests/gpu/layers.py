"""Shapes and counts of the layers of networks, for timing them and for their rounding."""

DIRECTIONS = ("forward", "grad_input", "grad_weight")


def side(layer):
    """Return the side of what comes out."""
    return (layer.size + 2 * layer.padding - layer.kernel) // layer.stride + 1


def weight_shape(layer):
    """Return [M, C/groups, KH, KW]."""
    return (layer.filters, layer.channels // layer.groups, layer.kernel, layer.kernel)


def input_shape(layer, images):
    """Return [N, C, H, W]."""
    return (images, layer.channels, layer.size, layer.size)


def output_shape(layer, images):
    """Return [N, M, OH, OW]."""
    return (images, layer.filters, side(layer), side(layer))


def macs(layer):
    """Return the products of an image; in either gradient as many, but for those with padding."""
    depth = layer.filters * layer.channels // layer.groups
    return side(layer) ** 2 * depth * layer.kernel**2


def most_terms(layer, direction, images):
    """Return how many products a number of the result is the sum of, at most."""
    taps = layer.kernel**2
    return {
        "forward": layer.channels // layer.groups * taps,
        "grad_input": layer.filters // layer.groups * taps,
        "grad_weight": images * side(layer) ** 2,
    }[direction]
