"""Pages for a browser: one file, no network."""

import html
from collections.abc import Mapping, Sequence

from kbp.reports.result_table import ResultTable

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #334155;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; margin-bottom: 0; }}
h2 {{ font-size: 1.1rem; margin: 2rem 0 .5rem; }}
p {{ margin: .3rem 0; }}
table {{ border-collapse: collapse; width: 100%;
  font-variant-numeric: tabular-nums; }}
th, td {{ padding: .35rem .6rem; text-align: right;
  border-bottom: 1px solid #e2e8f0; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; }}
h2:first-of-type + .scroll tbody tr:last-child {{ font-weight: 600; }}
.scroll {{ overflow-x: auto; }}
figure {{ margin: 0; overflow-x: auto; }}
svg {{ max-width: 100%; height: auto; }}
@media (max-width: 40rem) {{ figure svg {{ max-width: none; }} }}
summary {{ cursor: pointer; }}
pre {{ background: #f8fafc; padding: .8rem; overflow-x: auto; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def page(title: str, said: str, sections: Mapping[str, str | None]) -> str:
    """Return a page.

    Args:
        title: of it, as text.
        said: lines below the title, as text.
        sections: HTML by their headings; empty ones are left out.
    """
    lines = html.escape(said).replace("\n", "<br>")
    body = [f"<h1>{html.escape(title)}</h1>", f"<p>{lines}</p>"]
    for heading, content in sections.items():
        if content:
            body += [f"<h2>{heading}</h2>", content]
    return _PAGE.format(title=html.escape(title), body="\n".join(body))


def figure(drawn: str | None, caption: str) -> str:
    """Return a figure and how to read it, or nothing if there is none.

    A screen that is narrower than the figure scrolls it, since letters that
    shrink with it could not be read.

    Args:
        drawn: SVG text.
        caption: a sentence.
    """
    if not drawn:
        return ""
    said = f"<p>{html.escape(caption)}</p>" if caption else ""
    return f"<figure>{drawn}</figure>{said}"


def folded(summary: str, text: str) -> str:
    """Return a text that shows when its summary is chosen."""
    return (
        f"<details><summary>{html.escape(summary)}</summary>"
        f"<pre>{html.escape(text)}</pre></details>"
    )


def own_table(table: ResultTable) -> str:
    """Return a table and its remark."""
    remark = f"<p>{html.escape(table.remark)}</p>" if table.remark else ""
    return html_table(table.headings, table.rows) + remark


def html_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, or nothing if it has no rows."""
    if not rows:
        return ""

    def row(tag: str, cells: Sequence[str]) -> str:
        inside = "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells)
        return f"<tr>{inside}</tr>"

    head, body = row("th", headings), "\n".join(row("td", r) for r in rows)
    return (
        f'<div class="scroll"><table><thead>{head}</thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )
