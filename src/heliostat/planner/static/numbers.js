// Bounds, rate, best allocation, pinned places and notes; and the design of a sensing scenario.

import { $, button, element } from "./dom.js";
import { meters } from "./format.js";
import { commit, edit, emit, on, plan, shown } from "./state.js";
import { study } from "./study.js";

function show() {
  const { numbers, scene } = shown;
  for (const each of document.querySelectorAll("#numbers-panel .not-current")) {
    each.hidden = shown.current.numbers || !numbers;
  }
  $("#numbers-panel").classList.toggle("stale", !shown.current.numbers);
  $("#design").hidden = scene?.system !== "sensing";
  if (!numbers) {
    for (const id of ["#numbers", "#pins", "#notes"]) $(id).replaceChildren();
    $("#numbers").append(element("p", { className: "hint" }, "Not computed yet"));
    return;
  }
  $("#numbers").replaceChildren(...numbers.tables.map(table));
  if (numbers.reason) $("#numbers").prepend(element("p", { className: "reason" }, numbers.reason));
  $("#notes").replaceChildren(...numbers.notes.map((note) => element("li", {}, note)));
  showPins(numbers.places);
  const held = JSON.stringify(plan.design) !== JSON.stringify(plan.overrides);
  $("#design-text").textContent = held
    ? "The surfaces keep the design made for an earlier place of the target or other fields."
    : "The design is for this target.";
}

function table({ title, rows }) {
  const lines = rows.map(([label, value]) =>
    element("tr", {}, element("th", { scope: "row" }, label), element("td", {}, value)));
  return element("table", {}, element("caption", {}, title), ...lines);
}

function showPins(places) {
  if (!plan.pins.length) {
    $("#pins").replaceChildren(element("p", { className: "hint" }, "Click the map to pin a place."));
    return;
  }
  const heads = places.find(({ cells }) => cells.length)?.cells.map(([head]) => head) ?? [];
  const head = ["no.", "place", ...heads, "remove"].map((each) => element("th", { scope: "col" }, each));
  const lines = plan.pins.map((pin, i) => {
    const found = places.find(({ position }) => String(position) === String(pin));
    const cells = found?.cells.length ? found.cells.map(([, value]) => element("td", {}, value))
      : [element("td", { colSpan: Math.max(heads.length, 1) }, found?.reason || "…")];
    const remove = button("×", () => {
      plan.pins.splice(i, 1);
      emit("pins");
      commit();
    }, { "aria-label": `Remove place ${i + 1}` });
    return element("tr", { title: found?.reason ?? "" }, element("th", { scope: "row" }, `${i + 1}`),
      element("td", {}, pin.map((each) => meters(each)).join(", ")), ...cells,
      element("td", {}, remove));
  });
  $("#pins").replaceChildren(element("div", { className: "scroll", tabIndex: 0, role: "region",
    "aria-label": "Pinned places" }, element("table", {},
    element("caption", {}, "Pinned places"), element("tr", {}, ...head), ...lines)));
}

const redesign = study("Design again", () => ({ path: "/design",
  body: { overrides: structuredClone(plan.overrides) } }), (found, { overrides }) => {
  plan.design = overrides;
  edit({});
  commit();
});
$("#design").append(redesign.box);

for (const event of ["numbers", "stale", "scene", "pins"]) on(event, show);
on("open", redesign.cancel);
