"""The public function `heliostat.report`."""

from collections.abc import Mapping
from pathlib import Path

from heliostat.api.sensing_arguments import Method
from heliostat.reports.report import Report
from heliostat.scenario import ScenarioLike, SensingScenario, any_scenario


def report(
    scenario: ScenarioLike,
    folder: str | Path,
    *,
    active_antennas: int | None = None,
    weight: float | None = None,
    balance: float | None = None,
    method: Method = "direct",
    thorough: bool = False,
    pdf: bool = False,
    overrides: Mapping[str, str] | None = None,
) -> Report:
    """Evaluate a scenario and write figures, data and an HTML page, as ``heliostat run`` does.

    Args:
        scenario: A scenario, its name, path or dict.
        folder: Output folder; created if it does not exist.
        active_antennas: Localization: antennas for bounds, rate and map; default as many as fit
            into the period.
        weight: Localization: see `heliostat.allocate_time`. [(m + rad) s/bit]
        balance: Localization: see `heliostat.allocate_time`.
        method: Sensing: see `heliostat.design_beamforming`.
        thorough: Sensing: whether to add the lower bound of `heliostat.certify`.
        pdf: Write the figures as PDF too.
        overrides: Overrides with which the scenario was loaded, for the provenance.

    Returns:
        The report: ``tables``, ``notes``, ``document()`` for JSON, and ``dataset``.

    Raises:
        ScenarioError: No design reaches the SNR that the scenario requires.
        ValueError: An argument is out of range or belongs to the other system.
    """
    scenario = any_scenario(scenario, "report")
    given = {"method": method != "direct", "thorough": thorough}
    if isinstance(scenario, SensingScenario):
        numbers = {"active_antennas": active_antennas, "weight": weight, "balance": balance}
        given = {name: number is not None for name, number in numbers.items()}
    if others := [name for name, is_given in given.items() if is_given]:
        raise ValueError(
            f"{others[0]} is not for {scenario.system} scenarios such as {scenario.name}; leave it "
            "out."
        )
    # The modules of each system take long to import.
    if isinstance(scenario, SensingScenario):
        from heliostat.api.sensing_evaluation import evaluate_sensing  # noqa: PLC0415
        from heliostat.reports.sensing import sensing_report  # noqa: PLC0415

        found = sensing_report(
            evaluate_sensing(scenario, method=method, thorough=thorough, overrides=overrides)
        )
    else:
        from heliostat.api.localization_evaluation import evaluate_localization  # noqa: PLC0415
        from heliostat.reports.localization import localization_report  # noqa: PLC0415

        found = localization_report(
            evaluate_localization(
                scenario,
                active_antennas=active_antennas,
                weight=weight,
                balance=balance,
                overrides=overrides,
            )
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found.write(folder, pdf=pdf)
    return found
