"""What must hold of the built site: every public name is on it, links lead somewhere, nothing comes from a network."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import reference_pages
from sphinx.errors import ExtensionError

import gnl_jax

ROOT = reference_pages.PACKAGE.parent
IN_A_STYLE = re.compile(r"""(?:url\(|@import )["']?((?:https?:)?//[^"')]+)""")


class Page(HTMLParser):
    """What a page makes a browser fetch by itself, where its links go, and the places in it that links can go to."""

    def __init__(self, text: str):
        super().__init__()
        self.loads, self.links, self.places = list[str](), list[str](), set[str]()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        self.places |= {attributes[name] for name in ("id", "name") if name in attributes}
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.loads.append(attributes.get("src", ""))
        elif tag == "link":
            self.loads.append(attributes.get("href", ""))
        elif tag == "a":
            self.links.append(attributes.get("href", ""))


def from_network(pages: dict[Path, Page]) -> list[str]:
    """Pages that load from elsewhere, with the address."""
    elsewhere = re.compile(r"(https?:)?//")
    return [f"{path.name}: {address}" for path, p in pages.items() for address in p.loads if elsewhere.match(address)]


def styles_from_network(out: Path) -> list[str]:
    """The same of style sheets."""
    styles = sorted(out.rglob("*.css"))
    return [f"{style.name}: {address}" for style in styles for address in IN_A_STYLE.findall(style.read_text())]


def broken_links(pages: dict[Path, Page]) -> list[str]:
    """Links inside the site to a file, or to a place in a page, that is not there."""
    found = []
    for path, page in pages.items():
        for link in page.links:
            file, _, place = unquote(link).partition("#")
            target = (path.parent / file).resolve() if file else path
            if re.match(r"[a-z]+:", link) or (target.is_dir() and not place):
                continue
            missing = place and target in pages and place not in pages[target].places
            if not target.exists() or missing:
                found.append(f"{path.name}: {link}")
    return found


def expected() -> set[str]:
    """Full names of everything public that the reference must have."""
    names = set()
    for module in reference_pages.modules(reference_pages.PACKAGE):
        path = ROOT / (module.replace(".", "/") + ".py")
        names |= {f"{module}.{name}" for name in reference_pages.public_names(path)}
    return names | {reference_pages.home(name) for name in gnl_jax.__all__ if name != "__version__"}


def check(app, exception) -> None:
    """After a build of the whole site."""
    if exception is not None or app.builder.name != "html":
        return
    there = {name for name, *_ in app.env.domains["py"].get_objects()}
    if missing := sorted(expected() - there):
        raise ExtensionError(f"{len(missing)} public names are not in the reference: {', '.join(missing[:20])}")
    out = Path(app.outdir).resolve()
    pages = {path: Page(path.read_text()) for path in sorted(out.rglob("*.html"))}
    if found := from_network(pages) + styles_from_network(out):
        raise ExtensionError(f"the site loads from a network: {', '.join(found[:20])}")
    if found := broken_links(pages):
        raise ExtensionError(f"{len(found)} broken links: {', '.join(found[:20])}")


def setup(app) -> dict:
    app.connect("build-finished", check)
    return {"parallel_read_safe": True}
