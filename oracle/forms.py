"""Every other way in which the documents write a formula, by formula."""

from oracle import avg_pool2d_forms, conv2d_forms, conv_transpose2d_forms, max_pool2d_forms
from oracle.conv2d_forms import Form
from oracle.formula import Formula

FORMS: dict[Formula, tuple[Form, ...]] = {
    **conv2d_forms.FORMS,
    **conv_transpose2d_forms.FORMS,
    **max_pool2d_forms.FORMS,
    **avg_pool2d_forms.FORMS,
}
