"""Text that is safe to show: cut, spelled out if it can't be seen, escaped; and the templates that show it.

Every text in a page is escaped, or set as text by the script. A page loads nothing, and its content security policy lets
no other script or style run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.outcomes import in_words

if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).parent
STYLE, SCRIPT = "report.css", "report.js"
TEMPLATES = (
    "report.html.jinja",
    "decision.html.jinja",
    "confidence.html.jinja",
    "live.html.jinja",
    "labels.html.jinja",
    "data.html.jinja",
    "macros.html.jinja",
)
# Characters that can't be seen or that reorder others; the script gets the same pattern. The joiners and variation
# selectors of emoji, Persian and the like are left alone, but after a plain letter they only hide a difference.
UNSEEN = (
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
    "|(?<![^\x00-\x7f])[\u200c\u200d\ufe00-\ufe0f](?!\u20e3)"
)
# In a name, also white space other than a space: two names that look alike must not be two names.
UNSEEN_IN_NAME = f"{UNSEEN}|[\t\n\r\u00a0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000]|^ | $"
LABEL = 80  # longest name of a customer, tag or label that is shown whole


def value(content: Any, limit: int) -> str:
    """A field's value as text: JSON, so that the text `null` and null differ."""
    return clip(json.dumps(content, ensure_ascii=False), limit)


def cut(text: str, limit: int) -> str | list[Any]:
    """The text, or `[its start, its length]` if it is longer than `limit`."""
    return text if len(text) <= limit else [text[:limit], len(text)]


def clip(text: str, limit: int) -> str:
    """The text, its end replaced by an ellipsis if it is longer than `limit`."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def to_script(data: Any) -> str:
    """JSON that is safe inside `<script type="application/json">`: it can't close the element nor open a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&\u2028\u2029\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def spelled_out(text: Any, unseen: str = UNSEEN) -> Any:
    """A text with what can't be seen, or would reorder the rest, spelled out; markup and other values as they are."""
    if not isinstance(text, str) or hasattr(text, "__html__"):
        return text
    return re.sub(unseen, lambda match: f"[U+{ord(match[0]):04X}]", text)


def visible(name: str) -> str:
    """A name in full view, cut at `LABEL` characters."""
    return str(spelled_out(clip(name, LABEL), UNSEEN_IN_NAME))


def grouped(number: int) -> str:
    """A count with a comma between thousands."""
    return f"{number:,}"


def read_part(name: str) -> str:
    """A style, script or template of the page."""
    return (FOLDER / name).read_text(encoding="utf-8")


def csp_hash(text: str) -> str:
    """The source expression with which a content security policy allows exactly this inline text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def environment(**others: str) -> jinja2.Environment:
    """The page's templates, and `others` by name: everything is escaped, and what can't be seen is spelled out."""
    import jinja2

    templates = {name: read_part(name) for name in TEMPLATES} | others
    made = jinja2.Environment(
        loader=jinja2.DictLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=spelled_out,  # of every expression, whatever its words quote
    )
    made.filters |= {"visible": visible, "in_words": in_words, "grouped": grouped}
    return made


def whole_page(shown: dict[str, Any], data: dict[str, Any]) -> str:
    """The report page as one HTML text. `shown`: what its templates show; `data`: what its script reads."""
    style, script = read_part(STYLE), read_part(SCRIPT)
    hashes = {"style": csp_hash(style), "script": csp_hash(script)}
    template = environment().get_template(TEMPLATES[0])
    return template.render(shown, style=style, script=script, hashes=hashes, island=to_script(data))
