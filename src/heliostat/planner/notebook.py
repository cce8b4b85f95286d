"""The planner in a notebook."""

import html
import threading
from typing import TYPE_CHECKING

from heliostat.scenario import ScenarioLike, any_scenario

if TYPE_CHECKING:
    from heliostat.planner.server import Server


class RunningPlanner:
    """A planner that runs in this process; a notebook shows its page in a frame."""

    def __init__(self, address: str, server: "Server") -> None:
        self.address = address
        self._server = server

    def stop(self) -> None:
        """End the planner; its page says so."""
        self._server.should_exit = True

    def __repr__(self) -> str:
        return f"<planner at {self.address}>"

    def _repr_html_(self) -> str:
        address = html.escape(self.address, quote=True)
        return (
            f'<iframe src="{address}" title="heliostat planner" width="100%" height="900" '
            'style="border: 1px solid #999"></iframe>'
            f'<p>Planner at <a href="{address}" target="_blank">{address}</a>. If the frame is '
            "empty, this kernel runs on another machine: forward the port with <code>ssh -L</code> "
            "or run <code>heliostat plan</code> on your own machine.</p>"
        )


def plan(scenario: ScenarioLike | None = None) -> RunningPlanner:
    """Open the planner for a scenario, in a frame of the notebook.

    The planner runs in a thread of this process and listens on 127.0.0.1 only.

    Args:
        scenario: A scenario, its name, path or dict; default a choice of the packaged ones.

    Returns:
        The planner: ``address`` of its page, ``stop()``.

    Raises:
        ModuleNotFoundError: The extra ``plan`` is not installed.
        ScenarioError: The scenario is invalid.
    """
    try:
        from heliostat.planner.server import opened  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise ModuleNotFoundError(NEEDS_EXTRA, name=error.name) from None
    own = None if scenario is None else any_scenario(scenario, "plan")
    planner = opened(own)
    threading.Thread(target=planner.run, daemon=True).start()
    return RunningPlanner(planner.address, planner.server)


NEEDS_EXTRA = "The planner needs the extra plan: pip install 'heliostat[plan]'."
