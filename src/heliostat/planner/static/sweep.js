// A curve of one quantity over the values of one field.

import { $, drawn, element, labels } from "./dom.js";
import { text } from "./format.js";
import { on, plan, shown } from "./state.js";
import { study } from "./study.js";

const OUTPUTS = {
  localization: { "pose_bounds.peb": "position error bound (PEB)", "pose_bounds.reb":
    "heading error bound (REB)", "effective_rate.eadr": "data rate (EADR)", "effective_rate.snr": "SNR" },
  sensing: { "direction_bounds.position_bound": "position error bound",
    "design_beamforming.worst_crb": "worst CRB" },
};
const NUMBER = /^([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([^\s,[\]]*)$/i;
const HEIGHT = 240, LEFT = 76, TOP = 10, BOTTOM = 200;

const field = element("select", { id: "sweep-field", onchange: suggest });
const from = element("input", { size: 9, spellcheck: false });
const to = element("input", { size: 9, spellcheck: false });
const count = element("input", { type: "number", min: 2, max: 50, value: "11" });
const output = element("select", { id: "sweep-output" });
const result = element("div", { id: "curve" });
const controls = study("Draw the curve", () => ({ path: "/sweep", body: { field: field.value,
  from: from.value, to: to.value, count: count.valueAsNumber || 0, output: output.value,
  whole: numeric().find(({ key }) => key === field.value)?.whole ?? false } }), draw);
$("#tools").append(element("details", { id: "sweep" },
  element("summary", {}, "Sweep", element("small", {}, " a quantity over one field")),
  element("div", { className: "buttons" }, element("label", {}, "Field ", field),
    element("label", {}, "From ", from), element("label", {}, "To ", to),
    element("label", {}, "Values ", count), element("label", {}, "Quantity ", output)),
  controls.box, result));

// Fields with one number, with its unit, its present or a usual value, and whether it is whole.
function numeric() {
  return shown.fields.flatMap(({ title, fields }) => fields.flatMap((each) => {
    const match = NUMBER.exec(each.value || each.example || "");
    if (!match || each.choices?.length || each.label === "seed") return [];
    return [{ key: each.key, label: `${title}: ${each.label}`, value: Number(match[1]), unit: match[2],
      whole: each.whole }];
  }));
}

function show() {
  const fields = numeric(), keys = fields.map(({ key }) => key).join();
  const outputs = OUTPUTS[shown.scene?.system] ?? {};
  if (field.dataset.keys !== keys) {
    const before = field.value;
    field.dataset.keys = keys;
    field.replaceChildren(...fields.map(({ key, label }) => element("option", { value: key }, label)));
    field.value = fields.find(({ key }) => key === before)?.key
      ?? fields.find(({ key }) => key === "base_station.power")?.key ?? fields[0]?.key;
    if (field.value !== before) suggest();
  }
  if (output.dataset.of !== shown.scene?.system) {
    output.dataset.of = shown.scene?.system ?? "";
    output.replaceChildren(...Object.entries(outputs).map(([value, name]) =>
      element("option", { value }, name)));
  }
}

// A range around the present value.
function suggest() {
  const chosen = numeric().find(({ key }) => key === field.value);
  if (!chosen) return;
  const { value, unit, whole } = chosen, level = /^dB/.test(unit) || unit === "deg" || value === 0;
  let [low, high] = level ? [value - 10, value + 10] : [value / 2, 2 * value];
  if (whole) [low, high] = [Math.max(1, Math.round(low)), Math.max(2, Math.round(high))];
  [from.value, to.value] = [low, high].map((each) => `${Number(each.toPrecision(6))} ${unit}`.trim());
}

function draw(found, { field: key }) {
  const label = [...field.options].find(({ value }) => value === key)?.text ?? key;
  const known = found.y.filter((value) => value > 0);
  const caption = `${found.label} over ${label}`;
  if (!known.length) {
    result.replaceChildren(element("p", { className: "reason" },
      `No value exists. ${found.reasons.join(" ")}`));
    return;
  }
  const [x0, x1] = [Math.min(...found.x), Math.max(...found.x)];
  let [low, high] = [Math.min(...known), Math.max(...known)];
  if (high < 1.2 * low) [low, high] = [low / 1.1, high * 1.1];
  const width = Math.min(Math.max(result.clientWidth, 300), 640), RIGHT = width - 15;
  const across = (x) => LEFT + ((RIGHT - LEFT) * (x - x0)) / (x1 - x0 || 1);
  const up = (y) => BOTTOM - ((BOTTOM - TOP) * Math.log(y / low)) / Math.log(high / low);
  const ticks = [0, 1, 2, 3, 4].map((i) => x0 + ((x1 - x0) * i) / 4);
  const levels = [0, 1, 2, 3].map((i) => low * (high / low) ** (i / 3));
  const grid = [...ticks.map((x) => `M${across(x)} ${TOP}V${BOTTOM}`),
    ...levels.map((y) => `M${LEFT} ${up(y)}H${RIGHT}`)];
  // A line for each run of values that exist.
  const runs = [[]];
  found.y.forEach((y, i) => (y > 0 ? runs.at(-1).push([across(found.x[i]), up(y)]) : runs.push([])));
  const lines = runs.map((run) => `<polyline points="${run.join(" ")}"/>`
    + run.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="3"/>`).join(""));
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img",
    "aria-label": `${caption}; its values are in the table below` },
  `<path class="grid" d="${grid.join("")}"/>${lines.join("")}`);
  const chart = element("div", { className: "chart" }, svg);
  labels(svg, [...ticks.map((x) => [across(x), BOTTOM + 13, Number(x.toPrecision(4)), "middle"]),
    ...levels.map((y) => [LEFT - 5, up(y), text(y, found.unit, 2), "end"]),
    [(LEFT + RIGHT) / 2, HEIGHT - 10, found.x_unit ? `${label} [${found.x_unit}]` : label, "axis middle"]]);
  const rows = found.x.map((x, i) => element("tr", {},
    element("th", { scope: "row" }, `${x} ${found.x_unit}`.trim()),
    element("td", {}, found.y[i] === null ? "no bound" : text(found.y[i], found.unit, 4))));
  const more = found.reasons.length ? [element("p", { className: "hint" }, found.reasons.join(" "))] : [];
  result.replaceChildren(element("p", {}, caption), chart, ...more,
    element("details", {}, element("summary", {}, "Values and code"),
      element("table", {}, ...rows), element("div", { className: "code" },
        element("pre", { tabIndex: 0, role: "region", "aria-label": "Python of the curve" }, found.python))));
}

on("scene", show);
on("open", () => {
  controls.cancel();
  result.replaceChildren();
  if (plan.name === null) field.dataset.keys = "";
});
