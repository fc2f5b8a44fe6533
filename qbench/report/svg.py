"""A drawing's SVG made fit to stand in a page with others, and alone in a file."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

# The page's colours by their light values: in a page they become variables, which its dark mode sets anew.
INK, SOFT, RULE, PAPER = "#1d2126", "#5a636e", "#dfe1dc", "#fcfcfa"
GOOD, BAD, FAINT = "#17653a", "#a8201a", "#9aa2ab"
PAGE = {INK: "ink", SOFT: "soft", RULE: "rule", PAPER: "paper", GOOD: "good", BAD: "bad", FAINT: "one"}
# Told apart by readers of every colour vision (Okabe and Ito 2008, without black and yellow), then two of
# Paul Tol's muted ones.
HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#999933")
VARIABLES = PAGE | {hue: f"hue-{number}" for number, hue in enumerate(HUES)}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
HALO = "text{paint-order:stroke;stroke:%s;stroke-width:2.5px;stroke-linejoin:round}"


def inline(drawn: str, slug: str, label: str) -> str:
    """Return the drawing as an element of a page: no namespace, ids of its own, the page's colours and font.

    Args:
        drawn: what matplotlib wrote.
        slug: what the ids of this drawing begin with; no other drawing of the page may have it.
        label: what a reader who cannot see it is told.
    """
    body, width, height = _body(drawn, slug)
    body = body.replace("xlink:href", "href")
    for colour, name in VARIABLES.items():
        body = body.replace(colour, f"var(--{name})")
    body = re.sub(r"font: ((?:italic |bold |\d{3} )*[\d.]+px) [^;\"]*", r"font: \1 inherit", body)
    body = _family_of_page(body)
    head = f'<svg class="plot" role="img" aria-label={quoteattr(label)} viewBox="0 0 {width} {height}">'
    return f"{head}{body}</svg>"


def standalone(drawn: str, slug: str, label: str) -> str:
    """Return the drawing as a file: on paper of its own, with its title, whatever the viewer's colours."""
    body, width, height = _body(drawn, slug)
    body = re.sub(r"font: ((?:italic |bold |\d{3} )*[\d.]+px) [^;\"]*", rf"font: \1 {FONT}", body)
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'role="img" aria-label={quoteattr(label)} '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    )
    paper = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
    return f"{head}<title>{escape(label)}</title><style>{HALO % PAPER}</style>{paper}{body}</svg>\n"


def _family_of_page(body: str) -> str:
    """Take the family out of the font shorthand: `inherit` is no family inside one."""
    weights = {"bold": "bold", "italic": "italic"}

    def longhand(found: re.Match[str]) -> str:
        *words, size = found[1].split()
        told = [f"font-size: {size}"]
        for word in words:
            told.append(f"font-style: {word}" if word == weights["italic"] else f"font-weight: {word}")
        return "; ".join(told)

    return re.sub(r"font: ([^;\"]*?px) inherit", longhand, body)


def _body(drawn: str, slug: str) -> tuple[str, str, str]:
    """Return what stands inside the `svg` element, and its width and height in points."""
    found = re.search(r'<svg[^>]*?viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>(.*)</svg>', drawn, re.DOTALL)
    if found is None:
        raise ValueError("this is no drawing: it has no svg element with a viewBox")
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", found[3], flags=re.DOTALL)
    names = set(re.findall(r'\bid="([^"]*)"', body))
    used = set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', body))
    wanted = {name for pair in used for name in pair if name}
    for name in names:  # an id that nothing refers to is weight only
        new = f' id="{slug}-{name}"' if name in wanted else ""
        body = body.replace(f' id="{name}"', new)
    body = re.sub(r'href="#', f'href="#{slug}-', body).replace("url(#", f"url(#{slug}-")
    body = re.sub(r">\s+<", "><", body.strip())
    # a hundredth of a point is finer than any screen; inside tags only, for the words are figures
    body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), body)
    body = re.sub(r" ?\n", " ", body)
    return body, found[1], found[2]
