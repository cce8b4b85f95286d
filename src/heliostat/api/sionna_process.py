"""Process that runs Sionna RT for `heliostat.api.ray_tracing`.

It is a process of its own because the compiler that Sionna RT uses, LLVM, aborts the whole process
if its version does not fit. The request is a JSON file and so is the answer, and
``python -m heliostat.api.sionna_process REQUEST ANSWER`` turns one into the other. All positions
are in meters. The answer has the key ``error`` with a message, or

- ``paths``: for each receiver, a list of paths between single isotropic, vertically polarized
  antennas, each with ``coefficient`` (real and imaginary part, without the phase of propagation)
  and ``triangles`` (corners of the reflecting triangles in the order of the path);
- ``echoes``: for each receiver, the amplitude of the direct path to the target and back, 0 if the
  target is hidden; left out without a target.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 10**6
"""Rays in all directions by which Sionna RT finds sequences of walls; its default."""
TARGET_SIZE = 0.1
"""Edge of the cube that Sionna RT needs as the shape of a target. The echo does not depend on it.
[m]"""


def trace(request: dict[str, Any]) -> dict[str, Any]:
    """Trace the paths of one request.

    Args:
        request: ``scene``, a name or a file; ``frequency`` [Hz]; ``source`` [m]; ``receivers`` [m];
            ``reflections``, the largest number of reflections of a path; ``target`` [m] and
            ``cross_section`` [m²], None without a target.
    """
    from sionna import rt  # noqa: PLC0415

    packaged = {
        name: file
        for name, file in vars(rt.scene).items()
        if isinstance(file, str) and file.endswith(".xml")
    }
    named = request["scene"]
    if named not in packaged and not Path(named).is_file():
        names = ", ".join(sorted(packaged))
        return {"error": f"there is no such file, and the packaged scenes are {names}"}
    scene = rt.load_scene(packaged.get(named, named))
    scene.frequency = request["frequency"]
    antenna = rt.PlanarArray(num_rows=1, num_cols=1, pattern="iso", polarization="V")
    scene.tx_array = scene.rx_array = antenna

    scene.add(rt.Transmitter("source", position=request["source"]))
    for i, position in enumerate(request["receivers"]):
        scene.add(rt.Receiver(f"receiver-{i}", position=position))
    paths = rt.PathSolver(deterministic=True)(
        scene, max_depth=request["reflections"], samples_per_src=SAMPLES, refraction=False
    )
    answer: dict[str, Any] = {"paths": _specular_paths(scene, paths, len(request["receivers"]))}
    if request["target"] is not None:
        answer["echoes"] = _echoes(scene, request)
    return answer


def _specular_paths(scene: Any, paths: Any, receivers: int) -> list[list[dict[str, Any]]]:
    """Coefficients and reflecting triangles of all paths to each receiver."""
    meshes = {each.object_id: each.mi_mesh for each in scene.objects.values()}

    def corners(shape: int, primitive: int) -> list[list[float]]:
        mesh = meshes[shape]
        indices = np.array(mesh.face_indices(primitive)).ravel()
        return [np.array(mesh.vertex_position(int(i))).ravel().tolist() for i in indices]

    real, imaginary = (np.asarray(part)[:, 0, 0, 0, :] for part in paths.a)
    valid = np.asarray(paths.valid).reshape(real.shape)
    depth = np.asarray(paths.interactions).shape[0]
    shape = (depth, *real.shape)
    kinds, shapes, primitives = (
        np.asarray(each).reshape(shape)
        for each in (paths.interactions, paths.objects, paths.primitives)
    )
    return [
        [
            {
                "coefficient": [float(real[i, p]), float(imaginary[i, p])],
                "triangles": [
                    corners(int(shapes[k, i, p]), int(primitives[k, i, p]))
                    for k in range(depth)
                    if kinds[k, i, p] != 0
                ],
            }
            for p in np.flatnonzero(valid[i])
        ]
        for i in range(receivers)
    ]


def _echoes(scene: Any, request: dict[str, Any]) -> list[float]:
    """Amplitudes of the direct paths from each receiver to the target and back."""
    from sionna import rt  # noqa: PLC0415
    from sionna.rt.rcs import ConstantRCSSensingTarget, RCSSolver  # noqa: PLC0415

    for name in (*scene.transmitters, *scene.receivers):
        scene.remove(name)
    edges = dict.fromkeys(("length", "width", "height"), TARGET_SIZE)
    section, position = request["cross_section"], request["target"]
    scene.add(ConstantRCSSensingTarget("target", sigma=section, position=position, **edges))
    amplitudes = []
    for position in request["receivers"]:
        scene.add(rt.Transmitter("there", position=position))
        scene.add(rt.Receiver("back", position=position))
        paths = RCSSolver(deterministic=True)(scene, max_depth=1, refraction=False, seed=0)
        amplitudes.append(float(np.hypot(*(np.asarray(part).sum() for part in paths.a))))
        scene.remove("there")
        scene.remove("back")
    return amplitudes


def main(request: str, answer: str) -> None:
    """Read a request, trace it and write the answer.

    Args:
        request: JSON file to read.
        answer: JSON file to write.
    """
    given = json.loads(Path(request).read_text(encoding="utf-8"))
    try:
        found = trace(given)
    except Exception as error:  # the other process reports it
        found = {"error": f"{type(error).__name__}: {error}"}
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
