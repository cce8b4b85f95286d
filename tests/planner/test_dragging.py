"""Dragging an object compiles nothing: area, shape and waves of the map stay the same."""

from jax import monitoring

from heliostat.planner import results
from heliostat.planner.requests import MapArguments
from tests.support.hall import hall


def test_a_drag_compiles_nothing():
    compiled = []

    def note(event, *_, **__):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    def compute(scenario):
        held = results.held(scenario, "plane")
        area, cells = [1.0, 13.0, -5.0, 7.0], 4
        results.compute_map(held, lambda: None, MapArguments("peb", area, cells), design=None)
        results.compute_numbers(held, lambda: None, places=[], design=None, designed_here=True)

    auto = {"model__wavefront": "auto"}
    compute(hall(**auto))
    monitoring.register_event_duration_secs_listener(note)
    try:
        # The last place is in the near field of the surface, where waves would be spherical.
        for user in ([7.5, 5.0, 1.0], [6.0, -4.0, 1.2], [0.1, 0.0, 3.0]):
            compute(hall(user__position=user, base_station__position=[9.0, -4.0, 7.0], **auto))
        compute(hall(surface__position=[0.5, 1.0, 2.0], surface__azimuth="20 deg", **auto))
    finally:
        monitoring.unregister_event_duration_listener(note)
    assert compiled == []
