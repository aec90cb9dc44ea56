"""A certificate as a badge: an SVG of a label and what was found, with a title for all readers."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from gradoracle.conformance.reports.certificate import Certificate

LABEL = "gradoracle"
GREEN, YELLOW, RED, GREY = "#2e7d32", "#8a6100", "#b3261e", "#595959"  # white text: 4.5 : 1 or more
LETTER, MARGIN = 7, 10  # pixels: about a letter's width, and what is left and right of a text
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" \
aria-label="{title}">
<title>{title}</title>
<rect width="{left}" height="20" fill="#424242"/>
<rect x="{left}" width="{right}" height="20" fill="{colour}"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{left_middle}" y="14" textLength="{left_text}">{label}</text>
<text x="{right_middle}" y="14" textLength="{right_text}">{message}</text>
</g>
</svg>
"""


class Badge(NamedTuple):
    """What stands on the right, and its colour."""

    message: str
    colour: str


def badge(certificate: Certificate) -> Badge:
    """Return what a certificate's badge says: a quick run and known deviations are named."""
    if certificate.holds_so_far:
        return Badge(f"shard {certificate.shard}", GREY)
    if not certificate.as_claimed:
        return Badge("not certified", RED)
    count = len(certificate.deviations)
    said = ["certified"]
    if certificate.is_short:
        said.append("quick")
    if count:
        said.append(f"{count} known deviation{'s' * (count > 1)}")
    return Badge(", ".join(said), YELLOW if len(said) > 1 else GREEN)


def svg(certificate: Certificate) -> str:
    """Return the badge as a file of SVG."""
    shown = badge(certificate)
    texts = [LETTER * len(text) for text in (LABEL, shown.message)]
    left, right = (text + MARGIN for text in texts)
    return SVG.format(
        width=left + right, left=left, right=right, colour=shown.colour, label=LABEL,
        left_middle=left / 2, right_middle=left + right / 2, left_text=texts[0],
        right_text=texts[1], message=escape(shown.message),
        title=escape(_printable(f"{LABEL}: {certificate.backend}: {certificate.in_full}")),
    )  # fmt: skip


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
