"""Formulas as MathML, which browsers draw by themselves, without scripts from elsewhere."""

import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(html: str, **_: Any) -> str:
    """Replace what the extension `arithmatex` has marked."""
    return FORMULA.sub(_drawn, html)


def _drawn(found: re.Match[str]) -> str:
    tag, bracket, formula = found.groups()
    unescaped = formula.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    drawn = convert(unescaped.strip(), display="block" if bracket == "[" else "inline")
    return f"<{tag}>{drawn}</{tag}>"
