"""What mkdocs adds to the pages of `docs` while it builds the site.

The README is the first page. Files outside of `docs` that pages link to become
pages as well. The references are made of what the code declares.
"""

import contextlib
import importlib
import inspect
import io
import os
import posixpath
import re
import sys
from pathlib import Path, PurePosixPath

import griffe
from mkdocs.structure.files import File

import kbp
from kbp import zoo
from kbp.__main__ import COMMANDS, main
from kbp.recipes.reference import sections

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# A paragraph that is one link to a heading of another page.
TRIED = re.compile(r"^\[[^]]+\]\(([^)#]+)#([\w-]+)\)$", re.MULTILINE)
CODE = {".py": "python", ".toml": "toml"}


def on_config(config):
    """Fill the navigation's lists of rooms and of the zoo's entries."""
    sections = {key: x for item in config.nav for key, x in item.items()}
    (api,) = (x["API"] for x in sections["Reference"] if "API" in x)
    api += [{f"kbp.{room}": f"reference/api/{room}.md"} for room in rooms()]
    sections["Model zoo"].append("models/README.md")
    sections["Model zoo"] += [
        {entry.name: f"models/{entry.name}/README.md"}
        for entry in zoo.entries()
    ]
    return config


def on_files(files, config):
    """Add generated pages, and what pages link to outside of `docs`."""
    made = {
        "reference/keys.md": recipes(),
        "reference/commands.md": commands(),
    }
    made |= {f"reference/api/{room}.md": names_of(room) for room in rooms()}
    for uri, text in made.items():
        files.append(File.generated(config, uri, content=text))
    found = {ROOT / "docs" / file.src_uri for file in files}
    known = {path for path in found if path.suffix not in CODE}
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    while pages:
        path = pages.pop()
        if path not in known:
            known.add(path)
            files.append(as_file(path, config))
        if path.suffix == ".md":
            text = FENCED.sub("", path.read_text())
            linked = {(path.parent / x).resolve() for x in LINK.findall(text)}
            pages += [x for x in linked - known if x.is_file()]
    return files


def on_page_markdown(markdown, page, **_):
    """Put sections where links to them are, and lead links to the site."""
    path = source_of(page.file.src_uri)
    if path.parent.name == "results":
        markdown = TRIED.sub(
            lambda found: section(path, *found.groups()), markdown
        )

    def lead(found):
        target = uri_of((path.parent / found[1]).resolve())
        return posixpath.relpath(target, posixpath.dirname(page.file.src_uri))

    parts = re.split(f"({FENCED.pattern})", markdown, flags=FENCED.flags)
    return "".join(
        part if part.startswith("```") else LINK.sub(lead, part)
        for part in parts
    )


def uri_of(path):
    """Return where the site has a file of the repository."""
    uri = PurePosixPath(path.relative_to(ROOT))
    if uri.parts[0] == "docs":
        uri = uri.relative_to("docs")
    if str(uri) == "README.md":
        return "index.md"
    return f"{uri}.md" if uri.suffix in CODE else str(uri)


def source_of(uri):
    """Return the file of the repository that a page of the site shows."""
    if uri == "index.md":
        return ROOT / "README.md"
    inside = ROOT / "docs" / uri
    return inside if inside.is_file() else ROOT / uri


def as_file(path, config):
    """Return a file of the repository as one of the site; code as a page."""
    if path.suffix not in CODE:
        return File.generated(config, uri_of(path), abs_src_path=str(path))
    text = path.read_text()
    if text.startswith("# %%"):
        page = notebook(text, path.with_suffix(".ipynb").name)
    else:
        head = f"# {path.name}\n\n`{path.relative_to(ROOT)}`"
        page = f"{head}\n\n````{CODE[path.suffix]}\n{text}````\n"
    return File.generated(config, uri_of(path), content=page)


def notebook(text, executed):
    """Return the cells of a file in the percent format as a page."""
    parts = []
    for cell in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        kind, _, body = cell.partition("\n")
        if "markdown" in kind:
            parts.append(re.sub(r"^# ?", "", body, flags=re.MULTILINE))
        else:
            parts.append(f"```python\n{body.strip()}\n```\n")
    parts.append(f"[With what it prints, as a notebook]({executed})\n")
    return "\n".join(parts)


def section(path, page, anchor):
    """Return the section of a page below a heading, with its links mended."""
    source = (path.parent / page).resolve()
    for text in re.split(r"^(?=## )", source.read_text(), flags=re.MULTILINE):
        title = text.partition("\n")[0]
        if re.sub(r"[^\w]+", "-", title.lower()).strip("-") == anchor:
            return text.replace(title, "## Tried and left out", 1)
    raise ValueError(f"{source}: has no heading #{anchor}.")


def rooms():
    """Return the names of the rooms whose public names are documented."""
    found = [x for x in kbp.__all__ if inspect.ismodule(getattr(kbp, x))]
    return [room for room in [*found, "errors"] if public(room)]


def public(room):
    """Return the public names of a room: its own, if it does not say which."""
    module = importlib.import_module(f"kbp.{room}")
    own = (
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
        and not name.startswith("_")
    )
    return getattr(module, "__all__", [*own])


def names_of(room):
    """Return the page of a room."""
    module = importlib.import_module(f"kbp.{room}")
    places = (place_of(module, name) for name in public(room))
    names = "".join(f"\n::: {place}\n" for place in places)
    return f"# kbp.{room}\n\n{inspect.getdoc(module)}\n{names}"


def place_of(module, name):
    """Return the path of a public name that is none of a module as well."""
    path = f"{module.__name__}.{name}"
    return f"{path}.{name}" if path in sys.modules else path


def commands():
    """Return the page of all commands, as each explains itself."""
    os.environ["COLUMNS"] = "80"
    text = "# Commands\n\nEach is `kbp COMMAND`, or `python -m kbp COMMAND`.\n"
    for name in COMMANDS:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main([*name.split(), "--help"])
        text += f"\n## kbp {name}\n\n```\n{out.getvalue()}```\n"
    return text


def recipes():
    """Return the page of all sections of recipes and their keys."""
    parts = ["# Recipes", "Every section of a recipe and its keys."]
    parts += [text for x in sections() for text in of_section(x, "##")]
    return "\n\n".join(parts) + "\n"


def of_section(section, signs):
    """Return a heading, the words and the keys of a section."""
    lines = ["| key | type | default | range |", "| --- | --- | --- | --- |"]
    for key in section.keys:
        default = key.default
        if default not in ("", "required"):
            default = f"`{default}`"
        lines.append(
            f"| `{key.name}` | {key.kind} | {default} | {key.limits} |"
        )
    held = "\n".join(lines) if section.keys else "It has no keys."
    tables = [x for t in section.tables for x in of_section(t, "###")]
    return [f"{signs} {section.title}", section.words, held, *tables]


class Doctests(griffe.Extension):
    """Examples as code, and arguments of calls as arguments."""

    def on_object(self, *, obj, **_):
        """Change the docstring before it is parsed."""
        if obj.docstring is None:
            return
        text = obj.docstring.value.replace(
            "Call arguments:\n", "Other Args: Call arguments:\n"
        )
        obj.docstring.value = re.sub(
            r"^Example:\n((?:.+\n?)+)",
            lambda found: (
                f"**Example**\n\n```pycon\n{found[1].rstrip()}\n```\n"
            ),
            text,
            flags=re.MULTILINE,
        )
