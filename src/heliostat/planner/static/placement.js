// Where a surface, or a further one, should be: ranked positions on the marked walls, one click adopts one.

import { $, button, element } from "./dom.js";
import { meters } from "./format.js";
import { commit, edit, emit, on, plan, shown } from "./state.js";
import { study } from "./study.js";

const surface = element("select", { id: "place-surface" });
const goal = element("input", { id: "place-goal", spellcheck: false, size: 26 });
const walls = element("fieldset", { className: "walls" });
const summary = element("p", { role: "status" });
const table = element("div", { className: "scroll", tabIndex: 0, role: "region",
  "aria-label": "Ranked places" });
const ranking = element("div", { hidden: true }, summary, table);
const off = element("p", { className: "hint", id: "place-off" });
const controls = study("Where should it go?", () => ({ path: "/place", body: { surface: surface.value,
  goal: goal.value, walls: marked(), area: plan.area } }), use);
controls.start.setAttribute("aria-describedby", "place-off");
const form = element("div", {}, element("div", { className: "buttons" },
  element("label", {}, "Surface ", surface), element("label", {}, "Goal ", goal),
  element("small", {}, "or e.g. rate above 100 Mbit/s; both joined by and")), walls);
const details = element("details", { id: "placement", ontoggle: () => emit("placement") },
  element("summary", {}, "Placement", element("small", {}, " where should a surface go?")),
  form, off, controls.box, ranking);
$("#tools").prepend(details);

// What the map shows of the placement: marked walls, candidates with their shares, ranked places.
export const placement = { found: null, get walls() {
  if (!details.open) return [];
  const names = new Set(marked());
  return (shown.scene?.walls ?? []).filter(({ name }) => names.has(name));
} };

const boxes = () => [...walls.querySelectorAll("input")];
const marked = () => boxes().filter((each) => each.checked).map(({ value }) => value);

// The reason why there is nothing to place; empty if there is something.
function reason() {
  const { scene } = shown;
  if (!scene) return "";
  if (scene.system === "sensing") return "Placement is for localization scenarios.";
  if (!scene.walls.length) return "The scenario has no obstacles, so there are no walls to place a surface on.";
  return marked().length ? "" : "Mark at least one wall.";
}

function show() {
  const { scene } = shown;
  if (!scene) return;
  const surfaces = scene.objects.filter(({ kind }) => kind === "surface").map(({ key, name }) => [key, name]);
  const of = JSON.stringify([plan.name, surfaces]), named = JSON.stringify(scene.walls.map(({ name }) => name));
  if (details.dataset.of !== of) {
    const before = surface.value;
    details.dataset.of = of;
    surface.replaceChildren(...[...surfaces, ["new", "a new surface"]].map(([value, name]) =>
      element("option", { value }, name)));
    if ([...surface.options].some(({ value }) => value === before)) surface.value = before;
    if (!adopting) clear();
  }
  adopting = false;
  if (walls.dataset.of !== named) {
    walls.dataset.of = named;
    const all = button("All", () => check(true)), none = button("None", () => check(false));
    walls.replaceChildren(element("legend", {}, "Walls"), ...scene.walls.map(({ name }) =>
      element("label", {}, element("input", { type: "checkbox", value: name, checked: true,
        onchange: showReason }), ` ${name}`)), all, none);
    clear();
  }
  if (!goal.value) goal.value = "peb below 10 cm";
  form.hidden = !scene.walls.length || scene.system === "sensing";
  showReason();
}

function check(checked) {
  for (const each of boxes()) each.checked = checked;
  showReason();
}

function showReason() {
  off.textContent = reason();
  if (controls.box.querySelector("progress").hidden) controls.start.disabled = off.textContent !== "";
  emit("placement");
}

function clear() {
  placement.found = null;
  ranking.hidden = true;
  table.replaceChildren();
  emit("placement");
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function use(found, { surface: key }) {
  placement.found = { ...found, surface: key };
  const name = [...surface.options].find(({ value }) => value === key)?.text ?? key;
  const heads = ["no.", "adopt", "share", "wall", "place", "normal"];
  const lines = found.ranked.map((each, i) => element("tr", {},
    element("th", { scope: "row" }, `${i + 1}`),
    element("td", {}, button("Adopt", () => adopt(i), { "aria-label": `Adopt place ${i + 1}` })),
    element("td", {}, percent(each.share)), element("td", {}, each.wall),
    element("td", {}, each.position.map((value) => meters(value)).join(", ")),
    element("td", {}, `${Number(each.azimuth_deg.toFixed(1))} deg`)));
  const without = key === "new" ? "" : `, without it ${percent(found.without)}`;
  summary.textContent = `Places for ${name}: share of the area with ${found.goal}. At present ${
    percent(found.present)}${without}; at most ${percent(found.bound)} on these walls. ${found.differs}`;
  table.replaceChildren(element("table", {},
    element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head))), ...lines));
  ranking.hidden = false;
  emit("placement");
}

let adopting = false; // the ranking stays, so that another place can be tried

export function adopt(i) {
  adopting = true;
  edit(placement.found.ranked[i].overrides);
  commit();
}

on("scene", show);
on("open", () => {
  controls.cancel();
  details.dataset.of = walls.dataset.of = "";
  adopting = false;
  clear();
});
