"""Whatever is read as a scenario, it loads or is refused: what tests of both systems ask of it."""

from hypothesis import strategies as st

from heliostat.scenario import ScenarioError
from heliostat.scenario.loading import parse


def loads_or_is_refused(text, overrides=None):
    try:
        scenario = parse(text, overrides)
    except ScenarioError as error:
        refusal = error
    else:
        refusal = None
    if refusal is not None:
        assert refusal.problems
        assert all(problem.where and problem.sentence for problem in refusal.problems)
        str(refusal).encode()
        assert "Value error" not in str(refusal)  # pydantic's own words
        return
    assert parse(scenario.dump()).dump() == scenario.dump()
    assert all(isinstance(warning, str) for warning in scenario.notes)


plain_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
