// Files of the map, the report, and code that computes the same.

import { $, button, element } from "./dom.js";
import { download } from "./files.js";
import { isCause } from "./heatmap.js";
import { file, request } from "./request.js";
import { emit, on, plan, shown } from "./state.js";

const CELLS = 120; // of the map that the page shows, see compute.js
const FILES = [["png", "PNG"], ["svg", "SVG"], ["csv", "CSV"], ["geojson", "GeoJSON"], ["nc", "netCDF"]];

const wanted = () => ({ quantity: plan.quantity, area: plan.area, steering: plan.steering, cells: CELLS,
  threshold: shown.map && isCause(shown.map) ? null : plan.threshold });

const busy = element("p", { role: "status", className: "hint" });
const buttons = FILES.map(([suffix, label]) => button(label, () =>
  save("/export", { ...wanted(), format: suffix }, `${plan.name}-${plan.quantity}.${suffix}`)));
const report = button("Report", () => save("/report", {}, `${plan.name}-report.html`));
const python = codeBox("Python"), command = codeBox("Command line");
const details = element("details", { id: "takeaway", ontoggle: showCode },
  element("summary", {}, "Take away", element("small", {}, " files of the map, report, code")),
  element("div", { className: "buttons", role: "group", "aria-label": "Files of the map" },
    element("span", {}, "Map"), ...buttons),
  element("div", { className: "buttons" }, element("span", {}, "Scenario"), report,
    button("YAML", () => $("#save").click())),
  busy, python.box, command.box, element("p", { className: "hint", id: "code-hint" }));
$("#tools").append(details);

async function save(path, body, name) {
  busy.textContent = `Preparing ${name}`;
  for (const each of [...buttons, report]) each.disabled = true;
  try {
    download(name, await file(path, body));
    busy.textContent = `Saved ${name}`;
  } catch (error) {
    busy.textContent = "";
    emit("refused", { error });
  }
  for (const each of [...buttons, report]) each.disabled = false;
}

// Text that can be selected and copied.
function codeBox(title) {
  const code = element("pre", { tabIndex: 0, role: "region", "aria-label": title });
  const copy = button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = "Copied";
    } catch { // not allowed, e.g. in the frame of a notebook
      getSelection().selectAllChildren(code);
      copy.textContent = "Selected";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  }, { "aria-label": `Copy: ${title}` });
  const box = element("div", { className: "code" },
    element("div", { className: "buttons" }, element("strong", {}, title), copy), code);
  return { box, code };
}

let asked = "";

async function showCode() {
  if (!details.open || !shown.current.map) return;
  const now = JSON.stringify([plan.name, plan.overrides, plan.design, wanted()]);
  if (now === asked) return;
  asked = now;
  try {
    const found = await request("/snippets", wanted());
    if (asked !== now || found.problems) return;
    python.code.textContent = found.python;
    command.code.textContent = found.command;
    $("#code-hint").textContent = found.python.includes(".yaml")
      ? "The file is the one that was opened; Save YAML saves the present scenario as such a file." : "";
  } catch (error) {
    asked = "";
    emit("refused", { error });
  }
}

for (const event of ["map", "commit"]) on(event, showCode);
on("open", () => { busy.textContent = asked = ""; });
