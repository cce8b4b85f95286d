"""What the scenarios of all systems share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
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
    """A system, described and checked; each kind says what it is made of, and what clashes."""

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
        """Folder of the file, where other files that it names are looked for first."""
        return self._folder

    @abstractmethod
    def clashes(self) -> Iterator[Clash]:
        """Fields that do not fit together."""

    @abstractmethod
    def warnings(self) -> list[str]:
        """Assumptions of the model that this scenario strains, a sentence each."""

    @abstractmethod
    def build(self, key: "jaxtyping.PRNGKeyArray | None" = None) -> Any:
        """The scene that the equations see."""

    def updated(self: SameSystem, overrides: Overrides) -> SameSystem:
        """A checked copy with other values, by dotted key as in `load`.

        Raises:
            ScenarioError: The result is not a sound scenario.
        """
        context = {"name": self.name, "folder": self.folder}
        systems = {self.system: type(self)}
        return examine(self._written(), overrides, Report(self.name), systems, context)

    def dump(self) -> str:
        """The scenario as YAML, defaults written out; reading it gives the same numbers."""
        return yaml.safe_dump(
            self._written(), sort_keys=False, default_flow_style=None, width=100, allow_unicode=True
        )

    def _written(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)
