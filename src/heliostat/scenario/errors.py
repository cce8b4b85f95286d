"""Problems in a scenario with their locations, and the error that reports all of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from heliostat.units import quote

KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One problem in a scenario."""

    where: str
    """``file:line``, or the override as ``override surface.rows=0``."""
    field: str
    """Dotted key, e.g. ``surface.rows`` or ``surfaces.1.rows`` with list entries counted from 0;
    empty for the file as a whole."""
    value: str
    """The value as written, shortened if long; empty if there is none."""
    sentence: str
    """What is wrong and what to write instead."""

    def __str__(self) -> str:
        if not self.field or self.where.startswith(f"override {self.field}="):
            return f"{self.where}: {self.sentence}"
        return f"{self.where}: {self.field}: {self.sentence}"


class ScenarioError(ValueError):
    """Raised for an invalid scenario; the message has one line per problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class Clash(NamedTuple):
    """Violated condition on several fields that are valid individually."""

    field: str  # the field to change
    others: tuple[str, ...]  # the other fields in the condition
    sentence: str


class ClashError(ValueError):
    """Exception that carries clashes through pydantic, whose errors refer to single fields."""

    def __init__(self, clashes: list[Clash]) -> None:
        super().__init__("; ".join(f"{clash.field}: {clash.sentence}" for clash in clashes))
        self.clashes = clashes


@dataclass
class Report:
    """Line numbers of a scenario file and the problems found so far."""

    file: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    overrides: dict[KeyPath, str] = field(default_factory=dict)
    found: list[tuple[int, Problem]] = field(default_factory=list)

    def refuse(self, path: KeyPath, sentence: str, value: str = "", line: int = 0) -> None:
        """Record a problem with the value at a path.

        Args:
            path: Path of the field, empty for the file as a whole.
            sentence: What is wrong and what to write instead.
            value: The value as messages show it.
            line: Line number; default the line where the path was first written.
        """
        rank, where = (line, f"{self.file}:{line}") if line else self._locate(path)
        self.found.append((rank, Problem(where, dotted(path), value, sentence)))

    def _locate(self, path: KeyPath) -> tuple[int, str]:
        """Rank for sorting, overrides last, and the location as text."""
        for rank, (key, label) in enumerate(self.overrides.items()):
            at_or_above = path[: len(key)] == key
            # An override below the path counts if it created the path or changed a list entry.
            if at_or_above or (
                key[: len(path)] == path
                and (path not in self.lines or isinstance(key[len(path)], int))
            ):
                return 10**9 + rank, label
        for length in range(len(path), -1, -1):
            if line := self.lines.get(path[:length]):
                return line, f"{self.file}:{line}"
        return 0, self.file

    def error(self) -> ScenarioError:
        """Return an error with all problems in the order of the file."""
        return ScenarioError(problem for _, problem in sorted(self.found, key=lambda x: x[0]))


def printable(value: object) -> str:
    """Return printable text unchanged and any other value quoted."""
    return value if isinstance(value, str) and value.isprintable() else quote(value)


def dotted(path: KeyPath) -> str:
    """Return a path as a dotted key, ``surface.rows`` or ``surfaces.1.rows``."""
    return printable(".".join(str(part) for part in path))


def undotted(field: str) -> KeyPath:
    """Return the path of a dotted key, with list entries as integers."""
    return tuple(int(part) if part.isdigit() else part for part in field.split("."))
