"""Checks of the language of every text in the repository: terms, spelling, and the list of files not yet rewritten.

docs/contributing/terminology.md is the only list of words not to use. Code is not read, only what people read: in
Python the comments, strings, docstrings and names of functions and classes; in Markdown everything but code.
"""

from __future__ import annotations

import io
import re
import sys
import token
import tokenize
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maas import paths, process
from maas.codegen import repository
from maas.errors import ChartError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PAGE = "docs/contributing/terminology.md"
"""The page with the table of terms."""

_SUFFIXES = {
    *(
        ".cfg",
        ".conf",
        ".css",
        ".html",
        ".ini",
        ".j2",
        ".jinja",
        ".js",
        ".json",
        ".md",
        ".mako",
        ".py",
        ".service",
    ),
    *(".sh", ".timer", ".toml", ".tpl", ".txt", ".yaml", ".yml"),
}
_WITHOUT_SUFFIX = {"Dockerfile", "nox", ".helmignore"}

_EXCLUDED = re.compile(r"(app/)?requirements.*|charts/[^/]+/files/dashboards/.*|app/src/restaurant/locales/.*")
"""Lists of packages, generated files that cannot have a comment, and texts in other languages."""

_GENERATED = re.compile(r"[Gg]enerated by `", re.ASCII)
"""In the first lines of a generated file: its source is checked instead."""

_CODE = "\0"
"""Stands for a character of code, so that no term reaches across it."""

_GAP = r"[\s#>*|]+"
"""Between the words of a term: white space, also that of a comment's or a quotation's next line."""

_BETWEEN_WORDS = re.compile(r"[\s#>*|_\"']+(?:[fr]{1,2}[\"'])?")
"""Whatever may be between two words of a term before the code is blanked out."""

_CODESPELL = re.compile(r"(?P<file>.+?):(?P<line>\d+): (?P<found>.+?) ==> (?P<use>.+)")


@dataclass(frozen=True, order=True)
class Finding:
    """A word that the terminology does not allow, or a spelling mistake.

    Attributes:
        file: The file, relative to the repository.
        line: The line, from 1.
        found: The text as it is written there.
        use: What to write instead.
    """

    file: str
    line: int
    found: str
    use: str

    def __str__(self) -> str:
        return f'{self.file}:{self.line}: "{self.found}": use {self.use}'


@dataclass(frozen=True)
class Terms:
    """The table of terms.

    Attributes:
        pattern: Matches any word or phrase not to use.
        use: By phrase in lower case, what to write instead.
    """

    pattern: re.Pattern[str]
    use: dict[str, str]

    def find(self, name: str, text: str) -> Iterator[tuple[int, str, str]]:
        """Yield the line, the words as written and what to write instead, for each phrase not to use in a file."""
        # Plain searches are much faster than the pattern and than reading Python, and most files have no finding.
        simple = _BETWEEN_WORDS.sub(" ", text.lower())
        if not any(phrase in simple for phrase in self.use):
            return
        text = prose(name, text)
        for match in self.pattern.finditer(text):
            words = re.sub(_GAP, " ", match[0])
            yield text.count("\n", 0, match.start()) + 1, words, self.use[words.lower()]


def read_terms(page: str) -> Terms:
    """Read the table under `## Terms`: what to use, for what, and in backticks the words not to use.

    Raises:
        ChartError: The page has no such table, or lists a phrase twice.
    """
    use: dict[str, str] = {}
    for line in page.partition("\n## Terms\n")[2].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 3 or set(cells[0]) <= {"-"}:  # noqa: PLR2004 - the table's columns
            continue
        for phrase in re.findall(r"`([^`]+)`", cells[2]):
            if phrase.lower() in use:
                raise ChartError(f"{PAGE} lists `{phrase}` twice")
            use[phrase.lower()] = f"{cells[0]} ({cells[1]})" if cells[1] else cells[0]
    if not use:
        raise ChartError(f"{PAGE} has no table of terms", hint="it follows the heading `## Terms`")
    longest_first = sorted(use, key=len, reverse=True)
    phrases = "|".join(_GAP.join(map(re.escape, phrase.split())) for phrase in longest_first)
    return Terms(re.compile(rf"(?<![\w-])(?:{phrases})(?![\w-])", re.IGNORECASE), use)


def prose(name: str, text: str) -> str:
    """Return a file's text with its code blanked out; every character stays in its place."""
    if name.endswith(".py"):
        return _python_prose(text)
    if name.endswith(".md"):
        return _markdown_prose(text)
    return text


def findings(files: Iterable[str]) -> list[Finding]:
    """Return the findings in some files of the repository, ordered by file and line.

    Raises:
        ChartError: The table of terms cannot be read.
    """
    root = paths.content()
    terms = read_terms((root / PAGE).read_text(encoding="utf-8"))
    found: list[Finding] = []
    checked: list[str] = []
    for file in files:
        text = (root / file).read_text(encoding="utf-8")
        if _GENERATED.search(text[:300]):
            continue
        checked.append(file)
        found += (Finding(file, line, words, use) for line, words, use in terms.find(file, text))
    return sorted([*found, *_misspelled(checked)])


def texts(*below: str) -> list[str]:
    """Return every text file that people write, relative to the checkout's root, or those below some paths of it."""
    return [
        file
        for file in repository.files()
        if not _EXCLUDED.fullmatch(file)
        and (file.endswith(tuple(_SUFFIXES)) or file.rpartition("/")[2] in _WITHOUT_SUFFIX)
        and (not below or any(_covers(path, file) for path in below))
    ]


def _covers(entry: str, file: str) -> bool:
    return file == entry or file.startswith(f"{entry.rstrip('/')}/")


def _python_prose(text: str) -> str:
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    blank = [character if character.isspace() else _CODE for character in text]
    prose_tokens = {token.COMMENT, token.STRING, getattr(token, "FSTRING_MIDDLE", token.STRING)}
    after_definition = False
    for part in tokenize.generate_tokens(io.StringIO(text).readline):
        start, end = (starts[row - 1] + column for row, column in (part.start, part.end))
        words = text[start:end]
        if part.type in prose_tokens:
            if part.type == token.STRING:
                prefix = re.match(r"\w*(\"\"\"|'''|\"|')", words)
                opening, closing = (len(prefix[0]), len(prefix[1])) if prefix else (0, 0)
                inside = words[opening : len(words) - closing]
                words = " " * opening + inside + " " * closing
            blank[start:end] = words
        elif after_definition and part.type == token.NAME:
            blank[start:end] = words.replace("_", " ")
        elif part.type in (getattr(token, "FSTRING_START", -1), getattr(token, "FSTRING_END", -1)):
            blank[start:end] = " " * len(words)
        after_definition = part.type == token.NAME and words in ("def", "class")
    return "".join(blank)


def _markdown_prose(text: str) -> str:
    def blank(match: re.Match[str]) -> str:
        return re.sub(r"\S", _CODE, match[0])

    fenced = re.compile(r"^(?P<fence> {0,3}(```+|~~~+)).*?^(?P=fence)", re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]+`", blank, fenced.sub(blank, text))


def _misspelled(files: Sequence[str]) -> Iterator[Finding]:
    """Run codespell, with the words and the dialect of pyproject.toml."""
    if not files:
        return
    done = process.run([sys.executable, "-m", "codespell_lib", *files], cwd=paths.content(), check=False, timeout=120)
    for line in done.stdout.splitlines():
        if match := _CODESPELL.fullmatch(line):
            yield Finding(match["file"].removeprefix("./"), int(match["line"]), match["found"], match["use"])
