"""Base class of the scenarios of all systems."""

import html
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import PrivateAttr, model_validator

from heliostat.scenario.errors import Clash, ClashError, Report
from heliostat.scenario.fields import Section
from heliostat.scenario.validation import examine
from heliostat.scenario.yaml_reader import Overrides

if TYPE_CHECKING:
    import jaxtyping

SameSystem = TypeVar("SameSystem", bound="Scenario")


class Scenario(Section, ABC):
    """Validated description of a system; subclasses define its sections and its checks."""

    system: str
    _name: str = PrivateAttr("scenario")
    _folder: Path = PrivateAttr(Path())

    @model_validator(mode="after")
    def _fits_together(self: SameSystem, info: Any) -> SameSystem:
        context = info.context or {}
        self._name = context.get("name", self._name)
        self._folder = context.get("folder", self._folder)
        if clashes := list(self.clashes()):
            raise ClashError(clashes)
        return self

    @property
    def name(self) -> str:
        """Name of the shipped scenario, or of the file without its suffix."""
        return self._name

    @property
    def folder(self) -> Path:
        """Folder of the file; other files named in it are searched there first."""
        return self._folder

    @abstractmethod
    def clashes(self) -> Iterator[Clash]:
        """Conditions on several fields that are violated."""

    @abstractmethod
    def warnings(self) -> list[str]:
        """Warnings about model assumptions that hold only roughly, one sentence each."""

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """`warnings`, computed once."""
        return tuple(self.warnings())

    @abstractmethod
    def build(self, key: "jaxtyping.PRNGKeyArray | None" = None) -> Any:
        """Build the scene that the equations use."""

    def updated(self: SameSystem, overrides: Overrides) -> SameSystem:
        """Return a checked copy with some values replaced.

        Args:
            overrides: Values by dotted key, as for `load`.

        Raises:
            ScenarioError: The result is not a valid scenario.
        """
        context = {"name": self.name, "folder": self.folder}
        systems = {self.system: type(self)}
        return examine(self._written(), overrides, Report(self.name), systems, context)

    def dump(self) -> str:
        """Return the scenario as YAML with all defaults; reading it gives the same numbers."""
        return yaml.safe_dump(
            self._written(), sort_keys=False, default_flow_style=None, width=100, allow_unicode=True
        )

    def __dir__(self) -> Iterable[str]:
        own = ("name", "folder", "notes", "warnings", "build", "updated", "dump")
        return sorted({*type(self).model_fields, *own})

    def __repr__(self) -> str:
        return f"<{self.system} scenario {self.name!r}>"

    def _repr_html_(self) -> str:
        return f"<b>{html.escape(self.name)}</b><pre>{html.escape(self.dump())}</pre>"

    def _written(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)
