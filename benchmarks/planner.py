"""The planner in Chromium: from a drag to the preview, and from rest to the map."""

import re
import shutil
import statistics
import subprocess
import sys

import heliostat as hs
from benchmarks.timing import Row, seconds

ROUNDS = 5
STEERED = {"surface.bits": None}
TIMED = """async ([overrides, rounds]) => {
  const { edit, on, plan, shown } = await import("/static/state.js");
  const [x, y, z] = shown.scene.objects.find(({ key }) => key === "base_station").position;
  let painted = () => {};
  on("painted", () => shown.problems.length || painted(shown.map.fine));
  // Where a preview takes long, the map after the rest comes in its place.
  const until = (wanted) => new Promise((done, fail) => {
    const late = setTimeout(() => fail(new Error(`no ${wanted ? "map" : "preview"} within 60 s: `
      + `${document.querySelector("#status").textContent || "the map is current"}; `
      + document.querySelector("#refused").textContent)), 60_000);
    painted = (fine) => {
      if (wanted && !fine) return;
      clearTimeout(late);
      done();
    };
  });
  const settled = async () => {
    const fine = until(true);
    edit({ ...overrides }, { moving: false });
    await fine;
  };
  await settled();
  await new Promise((done) => setTimeout(done, 3000)); // the page compiles what a drag needs
  const times = [[], []];
  for (let i = 0; i <= rounds; i++) {
    for (const fine of [false, true]) {
      const begun = performance.now();
      const done = until(fine);
      edit({ "base_station.position": [x, y, z + 0.01 * i] }, { moving: !fine });
      await done;
      if (i > 0) times[Number(fine)].push(performance.now() - begun);
      // A drag begins when all is shown.
      while (fine && !shown.current.numbers) await new Promise((next) => setTimeout(next, 10));
    }
  }
  return [times, plan.area];
}"""


def run() -> list[Row]:
    """Times of a panel with 64 x 64 elements, steered continuously and with 2 bits."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    if program is None:
        return [Row("planner: the package chromium is missing", "-", "-", False)]
    command = [sys.executable, "-m", "heliostat", "plan", "street-canyon", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = re.search(r"http://\S+", process.stdout.readline())[0]
    rows = []
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=program, args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page()
            page.set_default_timeout(120_000)
            page.goto(address)
            page.wait_for_selector("#plan:not(.stale)")
            for what, overrides, aims in (
                ("steered", STEERED, (60, 100)),
                ("2 bits", {"surface.bits": 2}, (60, 300)),
            ):
                (coarse, fine), area = page.evaluate(TIMED, [overrides, ROUNDS])
                for name, cells, times, aim in (
                    ("drag to preview", 40, coarse, aims[0]),
                    ("rest to map", 120, fine, aims[1]),
                ):
                    shown = statistics.median(times)
                    bare = 1e3 * bare_seconds(overrides, area, cells)
                    rows.append(
                        Row(
                            f"planner, 64 x 64, {what}: {name}, {cells} x {cells}, "
                            "over the bare hs.coverage",
                            f"{shown / bare:.1f}x ({shown:.0f} ms / {bare:.0f} ms)",
                            f"under {aim} ms",
                            shown < aim,
                        )
                    )
            browser.close()
    finally:
        process.kill()
    return rows


def bare_seconds(overrides: dict, area: list[float], cells: int) -> float:
    """Median time of the same map in Python, warm. [s]"""
    scenario = hs.load("street-canyon", overrides)
    call = lambda: hs.coverage(scenario, "peb", area=area, points=cells**2)
    call()
    return statistics.median(seconds(call) for _ in range(5))
