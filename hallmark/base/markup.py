"""Text without HTML (`mask.markup: html`): of records before they are masked, and of live requests, by this one function.

It is one expression, not a parser, because a text may come from anyone: of unclosed tags, html.parser takes 35 seconds for
200 kB, and lxml 2 for 400 kB, both with the square of the length. Both also drop `<EMAIL_1>`, which masking wrote.
"""

from __future__ import annotations

import html
import re
from typing import Literal

Markup = Literal["none", "html"]
_TAG = re.compile(  # or a comment, a declaration, a script; no part can match the same character in two ways
    r"<!--.*?(?:-->|\Z)"
    r"|<(?P<raw>script|style)(?=[\s/>])[^<>]*>.*?(?:</(?P=raw)\s*>|\Z)"
    r"|<[!?][\[a-z][^<>]*>"
    r"""|</?(?P<name>[a-z][a-z0-9]*(?:[:-][a-z0-9]+)*+)(?:[\s/](?:"[^"<]*"|'[^'<]*'|[^<>])*+)?>""",
    re.IGNORECASE | re.DOTALL,
)
_BLOCKS = frozenset(
    ("address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl", "dt", "fieldset",
     "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hr", "html", "legend", "li",
     "main", "nav", "ol", "option", "p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "title", "tr", "ul")
)  # fmt: skip
_CELLS = frozenset(("td", "th"))
_BLOCK = "\v"  # where a block starts or ends: white space that joins with what is around it
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z][a-z0-9]{1,31});", re.IGNORECASE)


def plain_text(text: str, markup: Markup) -> str:
    """The text without its markup: entities are read, blocks and `<br>` become line breaks, scripts and styles go.

    Line breaks of the source stay, so that a template's own do, and texts in the same column that have no markup. So context
    and input give the same, each by itself or joined to one message.
    """
    if markup == "none":
        return text
    text = _TAG.sub(_instead, text)
    text = re.sub(r"\s+", lambda run: "\n" * max(1, run[0].count("\n")) if _BLOCK in run[0] else run[0], text)
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    text = re.sub(r"[^\S\n]+", " ", text)
    return re.sub(r" ?\n[ \n]*", lambda run: "\n" * min(2, run[0].count("\n")), text).strip()


def _instead(match: re.Match[str]) -> str:
    name = (match["name"] or "").lower()
    return "\n" if name == "br" else _BLOCK if name in _BLOCKS else " " if name in _CELLS else ""
