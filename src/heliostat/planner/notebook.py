"""The planner in a notebook."""

import html
import os
import threading
from typing import TYPE_CHECKING

from heliostat.scenario import ScenarioLike, any_scenario

if TYPE_CHECKING:
    from heliostat.planner.server import Opened

HUBS = ("JUPYTERHUB_API_URL", "COLAB_RELEASE_TAG", "BINDER_SERVICE_HOST")
"""Environment variables of kernels that run on other machines than the browser."""
_REMEDY = (
    "Forward the port with <code>ssh -L {port}:127.0.0.1:{port}</code> and open the address, or "
    "run <code>heliostat plan</code> on your own machine."
)


class RunningPlanner:
    """A planner that runs in this process; a notebook shows its page in a frame."""

    def __init__(self, planner: "Opened") -> None:
        self.address = planner.address
        self._server = planner.server
        self._thread = threading.Thread(target=planner.run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the planner and close its port; its page says so."""
        self._server.should_exit = True
        self._thread.join(5.0)

    def __repr__(self) -> str:
        return f"<planner at {self.address}>"

    def _repr_html_(self) -> str:
        address = html.escape(self.address, quote=True)
        port = self.address.rstrip("/").rpartition(":")[2]
        link = f'<a href="{address}" target="_blank">{address}</a>'
        if any(os.environ.get(name) for name in HUBS):
            return (
                f"<p>The planner runs at {link} on the machine of this kernel, which a browser on "
                f"another machine cannot open. {_REMEDY.format(port=port)}</p>"
            )
        return (
            f'<iframe src="{address}" title="heliostat planner" width="100%" height="900" '
            'style="border: 1px solid #999"></iframe>'
            f"<p>Planner at {link}; <code>stop()</code> ends it. If the frame is empty, the kernel "
            f"runs on another machine. {_REMEDY.format(port=port)}</p>"
        )


def plan(scenario: ScenarioLike | None = None) -> RunningPlanner:
    """Open the planner for a scenario, in a frame of the notebook.

    The planner runs in a thread of this process and listens on 127.0.0.1 only. It ends with
    ``stop()`` or with the process.

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
    return RunningPlanner(opened(own))


NEEDS_EXTRA = "The planner needs the extra plan: pip install 'heliostat[plan]'."
