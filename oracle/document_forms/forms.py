"""Every other way in which the documents write a formula, by formula."""

from gradoracle.oracle.declaration import Formula
from gradoracle.oracle.document_forms import avg_pool2d, conv2d, conv_transpose2d, max_pool2d
from gradoracle.oracle.document_forms.conv2d import Form

FORMS: dict[Formula, tuple[Form, ...]] = {
    **conv2d.FORMS,
    **conv_transpose2d.FORMS,
    **max_pool2d.FORMS,
    **avg_pool2d.FORMS,
}
