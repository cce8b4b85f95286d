// The start page, the menu of scenarios, and opening and saving YAML.

import { $, drawn, element } from "./dom.js";
import { answer, request } from "./request.js";
import { emit, on, open, plan, shown } from "./state.js";

let packaged = [];

export async function loadStart() {
  const start = await answer("/start");
  packaged = start.packaged;
  const names = packaged.map(({ name }) => name);
  const own = start.own && !names.includes(start.own) ? [start.own] : [];
  $("#scenario").replaceChildren(element("option", { value: "" }, "start page"),
    ...[...own, ...names].map((name) => element("option", { value: name }, name)));
  $("#cards").replaceChildren(...packaged.map(card));
  return { own: start.own, names: [...own, ...names] };
}

function card(scene) {
  const choose = element("button", { type: "button", onclick: () => open(scene.name) },
    picture(scene), element("strong", {}, scene.name), element("span", {}, scene.summary));
  return element("li", {}, choose);
}

// A scene from above: obstacles, base station, surfaces, users or target.
function picture({ objects, obstacles }) {
  const points = objects.map(({ position }) => position);
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const size = 1.5 * Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys), 1);
  const [x, y] = [xs, ys].map((each) => (Math.max(...each) + Math.min(...each)) / 2);
  const at = ([px, py]) => [60 + (100 * (px - x)) / size, 40 - (100 * (py - y)) / size];
  const walls = obstacles.map(({ footprint }) => `<polygon class="wall" points="${
    footprint.map((corner) => at(corner).join(",")).join(" ")}"/>`);
  const marks = objects.map(({ kind, position, normal }) => {
    const [px, py] = at(position);
    const arrow = normal ? `<path class="normal" d="M${px} ${py}l${12 * normal[0]} ${-12 * normal[1]}"/>` : "";
    return `${arrow}<circle class="${kind.replace(" ", "-")}" cx="${px}" cy="${py}" r="4"/>`;
  });
  return drawn("svg", { viewBox: "0 0 120 80", "aria-hidden": true }, walls.join("") + marks.join(""));
}

function showStart(visible) {
  $("#start").hidden = !visible;
  $("#planner").hidden = visible;
}

on("open", () => {
  showStart(plan.name === null);
  if (plan.text !== null) uploaded.set(plan.name, plan.text);
  const menu = $("#scenario"), value = plan.name ?? "";
  if (![...menu.options].some((option) => option.value === value)) {
    menu.append(element("option", { value }, value));
  }
  menu.value = value;
});

$("#scenario").addEventListener("change", ({ target }) => open(target.value || null,
  uploaded.get(target.value) ?? null));
const uploaded = new Map(); // text by name

$("#open").addEventListener("click", () => $("#file").click());
$("#file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (!file) return;
  if (file.size > 2 ** 20) {
    emit("refused", { error: new Error(`${file.name} is larger than 1 MiB.`) });
    return;
  }
  const text = await file.text(), name = file.name.replace(/\.ya?ml$/i, "");
  const checked = await request("/scene", { name, text, overrides: {} });
  if (checked.problems.length) {
    const all = checked.problems.map(({ field, sentence }) => `${field || file.name}: ${sentence}.`);
    emit("refused", { error: new Error(`${file.name} was not opened. ${all.join(" ")}`) });
    return;
  }
  open(name, text);
});

$("#save").addEventListener("click", () => download(`${plan.name}.yaml`, shown.scene.yaml, "text/yaml"));

// Let the browser save text or a blob as a file.
export function download(name, content, type) {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
