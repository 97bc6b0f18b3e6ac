"""What the site does with the pages of docs/ that mkdocs does not do by itself."""

import os
import pathlib
import re
import shutil

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parent.parent
# Pages that a forge wants at the root of the repository, and what they are on the site.
PAGES = {"README.md": "index.md"} | {page: page for page in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")}
# Where the site is published, with its scheme. Without it no page says what its address is.
PUBLISHED = os.environ.get("SITE_URL")
MERMAID = "assets/mermaid.min.js"
NAME = re.compile(r"\[(?:docs/)?[A-Z]+\.md\]\(((?:docs/)?[A-Z]+\.md)")
LINK = re.compile(r'(\]\(|src="|srcset=")(?!https?:|mailto:|#)([^)\s"#]*)')


def on_config(config):
    owner = os.environ.get("GITHUB_REPOSITORY_OWNER", "yatagarasu")
    config.repo_name = f"{owner}/yatagarasu"
    config.repo_url = f"https://github.com/{config.repo_name}"
    config.site_url = PUBLISHED or "/yatagarasu/"  # the folder is for the links of 404.html


def on_files(files, config):
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown, page, config, files):
    """Points links at other files of the repository to the forge."""
    names = {page: source for source, page in PAGES.items()}
    uri = page.file.src_uri
    source = names.get(uri)
    here = ROOT if source else (ROOT / "docs" / uri).parent
    if not PUBLISHED:
        page.canonical_url = None
    page.edit_url = f"{config.repo_url}/edit/main/{source or 'docs/' + uri}"

    def mend(match):
        path = os.path.relpath((here / match[2]).resolve(), ROOT)
        if not match[2]:
            return match[0]
        if not (ROOT / path).exists() or path.startswith(".."):
            raise PluginError(f"{uri}: there is no {match[2]} in the repository")
        inside = PAGES.get(path) or (path.startswith("docs/") and path.removeprefix("docs/"))
        if inside:  # mkdocs makes links of Markdown relative to the page's address, but not those of HTML
            start = os.path.dirname(uri) if match[1] == "](" else page.url.removesuffix("./")
            return match[1] + os.path.relpath(inside, start or ".")
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{match[1]}{config.repo_url}/{kind}/main/{path}"

    def title(match):  # of a page, in the place of its file's name
        return "[" + (here / match[1]).read_text().split("\n", 1)[0].lstrip("# ") + "](" + match[1]

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.M | re.S)  # code has no links
    parts[::2] = [LINK.sub(mend, NAME.sub(title, part)) for part in parts[::2]]
    markdown = "".join(parts)
    return markdown.replace("https://github.com/yatagarasu/", config.repo_url.removesuffix("yatagarasu")) \
        .replace("ghcr.io/yatagarasu/", f"ghcr.io/{config.repo_name.split('/')[0]}/")


def on_page_content(html, page, config, files):
    """Names in the first column of a table may break behind their dots, and nowhere else."""
    return re.sub(r"<tr>\n<td><code>[^<]*", lambda name: name[0][:14] + re.sub(r"[._ ](?=.)", r"\g<0><wbr>", name[0][14:]), html)


def on_post_page(output, page, config):
    """Mermaid is large: only pages with a diagram load it."""
    if 'class="mermaid"' not in output:
        return output
    return output.replace("</head>", f'<script src="{page.url and "../" * page.url.count("/")}{MERMAID}"></script></head>')


def on_post_build(config):
    site = pathlib.Path(config.site_dir)
    shutil.copy(ROOT / "bin/site-python/mermaid.min.js", site / MERMAID)
    if not PUBLISHED:
        for sitemap in site.glob("sitemap.xml*"):
            sitemap.unlink()
