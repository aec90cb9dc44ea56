"""PyTorch's derivatives along tangents of normalisations, losses, softmax and attention."""

from gradoracle.implementations.torch_reference import attention, further
from gradoracle.implementations.torch_reference.forward_mode import jvp

__all__ = [
    "batch_norm_jvp",
    "binary_cross_entropy_with_logits_jvp",
    "cross_entropy_loss_jvp",
    "glu_jvp",
    "group_norm_jvp",
    "huber_loss_jvp",
    "instance_norm_jvp",
    "kl_div_jvp",
    "l1_loss_jvp",
    "layer_norm_jvp",
    "log_softmax_jvp",
    "mse_loss_jvp",
    "nll_loss_jvp",
    "rms_norm_jvp",
    "scaled_dot_product_attention_jvp",
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
