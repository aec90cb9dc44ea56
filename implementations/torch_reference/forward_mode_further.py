"""PyTorch's derivatives along tangents of what is no convolution, product or activation."""

from gradoracle.implementations.torch_reference import (
    attention,
    everyday,
    further,
    products,
)
from gradoracle.implementations.torch_reference.forward_mode import jvp

__all__ = [
    "add_jvp",
    "batch_norm_jvp",
    "bilinear_jvp",
    "binary_cross_entropy_with_logits_jvp",
    "cat_jvp",
    "cross_entropy_loss_jvp",
    "cumsum_jvp",
    "gather_jvp",
    "glu_jvp",
    "group_norm_jvp",
    "huber_loss_jvp",
    "index_select_jvp",
    "instance_norm_jvp",
    "kl_div_jvp",
    "l1_loss_jvp",
    "layer_norm_jvp",
    "log_softmax_jvp",
    "mse_loss_jvp",
    "nll_loss_jvp",
    "rms_norm_jvp",
    "rotary_embedding_jvp",
    "scaled_dot_product_attention_jvp",
    "scatter_add_jvp",
    "soft_target_cross_entropy_jvp",
]

batch_norm_jvp = jvp(further.batch_norm, 0, 3, 4)
group_norm_jvp = jvp(further.group_norm, 0, 1, 2)
instance_norm_jvp = jvp(further.instance_norm, 0, 1, 2)
layer_norm_jvp = jvp(further.layer_norm, 0, 1, 2)
rms_norm_jvp = jvp(further.rms_norm, 0, 1)
glu_jvp = jvp(further.glu, 0)
log_softmax_jvp = jvp(further.log_softmax, 0)
binary_cross_entropy_with_logits_jvp = jvp(further.binary_cross_entropy_with_logits, 0)
cross_entropy_loss_jvp = jvp(further.cross_entropy_loss, 0)
huber_loss_jvp = jvp(further.huber_loss, 0, 1)
kl_div_jvp = jvp(further.kl_div, 0)
l1_loss_jvp = jvp(further.l1_loss, 0, 1)
mse_loss_jvp = jvp(further.mse_loss, 0, 1)
nll_loss_jvp = jvp(further.nll_loss, 0)
soft_target_cross_entropy_jvp = jvp(further.soft_target_cross_entropy, 0, 1)
scaled_dot_product_attention_jvp = jvp(attention.scaled_dot_product_attention, 0, 1, 2, 3)
bilinear_jvp = jvp(products.bilinear, 0, 1, 2, 3)
rotary_embedding_jvp = jvp(products.rotary_embedding, 0)
gather_jvp = jvp(everyday.gather, 0)
index_select_jvp = jvp(everyday.index_select, 0)
scatter_add_jvp = jvp(everyday.scatter_add, 0, 2)
add_jvp = jvp(everyday.add, 0, 1)
cat_jvp = jvp(everyday.cat, 0, 1, 2)
cumsum_jvp = jvp(everyday.cumsum, 0)
