"""The sensing scenario that one starts from: every key, and the defaults that it tells."""

import re

import numpy as np
import yaml

from heliostat.scenario import SensingScenario, parse, scenario_names, template_text
from heliostat.scenario.sensing.schema import ActiveSurfaceSpec

TEXT = template_text("sensing")


def test_it_loads_without_a_warning_and_is_not_listed_as_a_scenario():
    scenario = parse(TEXT)
    scenario.build()
    assert scenario.notes == ()
    assert not any("template" in name for name in scenario_names())


def test_it_shows_every_key_with_a_comment():
    written = yaml.safe_load(TEXT)
    for section, info in SensingScenario.model_fields.items():
        assert section in written
        if isinstance(written[section], dict):
            assert set(written[section]) == set(info.annotation.model_fields)
    assert set(written["surfaces"][0]) == set(ActiveSurfaceSpec.model_fields)
    until_second = TEXT[: TEXT.index("  - position: [-5, 20, 4]")]
    for line in until_second.splitlines() + TEXT[TEXT.index("target:") :].splitlines():
        assert not re.match(r"  [ -] ?\w+:|  \w+:", line) or "#" in line, line


def test_what_it_calls_a_default_is_one():
    told = re.findall(r"^ +(\w+):.*default (\[.*\]|-?\d+ dBi|-?[\d.]+)", TEXT, flags=re.MULTILINE)
    assert {name for name, _ in told} >= {"axis", "exponent", "antenna_gain", "seed", "patterns"}
    written = yaml.safe_load(TEXT)
    bare = {
        "system": "sensing",
        "carrier": written["carrier"],
        "base_station": {
            k: written["base_station"][k] for k in ("position", "antennas", "power", "noise")
        },
        "surfaces": [{"position": [-5, 10, 4], "rows": 8, "columns": 8}],
        "target": written["target"],
        "link": {"rician": "5 dB"},
        "dwell": {"symbols": 100},
    }
    defaults = parse(yaml.safe_dump(bare))
    sections = [defaults.base_station, defaults.surfaces[0], defaults.link, defaults.dwell]
    dumped = [section.model_dump(mode="json") for section in sections]
    across, up, _ = defaults.surfaces[0].axes
    resolved = {"exponent": defaults.exponent, "horizontal": across, "vertical": up, "tilt": 0}
    checked = set()
    for name, value in told:
        for section in (section for section in dumped if name in section):
            if section[name] is None:
                np.testing.assert_allclose(yaml.safe_load(value), resolved[name])
            elif isinstance(section[name], str):
                assert section[name] == value
            else:
                np.testing.assert_allclose(section[name], yaml.safe_load(value))
            checked.add(name)
    assert checked == {name for name, _ in told}
