// Comparison of a kept scenario (A) with the present one (B).

import { $, button, element } from "./dom.js";
import { Channel } from "./request.js";
import { commit, on, plan, restore, shown, snapshot } from "./state.js";
import { paint } from "./view.js";

const CELLS = 120;
const channel = new Channel();
let asked = "";

const keep = button("Keep as A", () => {
  const { name, text, overrides, design } = snapshot();
  Object.assign(plan, { other: { name, text, overrides, design }, showing: "present" });
  if (shown.current.map) {
    shown.other = shown.map;
    asked = key();
  }
  commit();
}, { title: "Compare what you do next with the present state" });
const choices = [["other", "A", "A, the kept state"], ["present", "B", "B, the present state"],
  ["ratio", "B / A", "B / A, B relative to A"]].map(([showing, label, name]) => button(label, () => {
  plan.showing = showing;
  commit();
}, { "aria-label": name, "data-showing": showing }));
const swap = button("Swap", () => {
  const { name, text, overrides, design } = snapshot(), { other } = plan;
  asked = "";
  shown.other = null;
  restore({ ...snapshot(), ...other, other: { name, text, overrides, design } });
  commit();
}, { title: "Make A the present state, and the present state A" });
const end = button("End", () => {
  Object.assign(plan, { other: null, showing: "present" });
  commit();
}, { "aria-label": "End the comparison" });
const group = element("div", { className: "buttons", role: "group", "aria-label": "Comparison" },
  ...choices, swap, end);
const status = element("span", { role: "status", className: "hint" });
$("#map-buttons").append(keep, group, status);

// What the map of A depends on.
const key = () => JSON.stringify([plan.other, plan.quantity, plan.area, plan.steering]);

// Show the comparison as it is in the state.
function update() {
  keep.disabled = !shown.map;
  group.hidden = !plan.other;
  for (const each of choices) {
    each.setAttribute("aria-pressed", each.dataset.showing === plan.showing);
  }
  if (!plan.other) {
    channel.cancel();
    shown.other = null;
    asked = status.textContent = "";
  } else if (shown.map && key() !== asked) {
    compute();
  }
  if (shown.map) paint();
}

function compute() {
  const now = key();
  asked = now;
  status.textContent = "Computing A";
  const { quantity, area, steering } = plan;
  const body = { ...plan.other, quantity, area, steering, cells: CELLS };
  channel.submit({ path: "/map", body, use: (found) => {
    if (now !== asked) return;
    shown.other = found.problems ? null : found;
    status.textContent = found.problems
      ? `A has no map: ${found.problems.map(({ sentence }) => sentence).join("; ")}.` : "";
    paint();
  } });
}

// After undo another comparison may be in the state; after a map its area may differ.
let last = "";
function follow() {
  keep.disabled = !shown.map;
  const present = JSON.stringify([plan.other, plan.showing]);
  if (present !== last) {
    last = present;
    update();
  } else if (plan.other && shown.map && key() !== asked) {
    compute();
  }
}

for (const event of ["map", "edit", "open", "commit"]) on(event, follow);
on("gone", () => { asked = ""; }); // its answer may be lost
on("refused", () => { status.textContent = ""; });
follow();
