// Notes in place, one after the other, until dismissed.

import { $, button, element } from "./dom.js";

const NOTES = [
  ["#plan", "Drag the base station, the surfaces and the user. Or press Tab until one is selected, "
    + "then the arrow keys: 0.1 m, with Shift 1 m. Surfaces snap to walls."],
  ["#scale", "Bright is good. The scale stays while you drag, so that colors compare; Fit scale "
    + "chooses it anew."],
  ["#numbers-panel", "Bounds, rate and best allocation for the user of the scenario. Click the map "
    + "to pin further places."],
  ["#distribution-panel", "Drag the threshold: the share of the area below it, and its contour on "
    + "the map."],
  ["#map-buttons", "Keep as A keeps the present state. What you change then is B; compare the maps of "
    + "A and B, their ratio, and both distributions."],
  ["#tools", "Find a place for a surface on the walls, draw a curve over one field, and take the "
    + "results away: files, a report, and code that gives the same numbers."],
  ["#fields-panel", "Every field of the scenario, with units. If a value cannot be, its field says "
    + "why."],
];

export function startTour() {
  step(0);
}

function step(i) {
  document.querySelector("#note")?.remove();
  for (const marked of document.querySelectorAll(".toured")) marked.classList.remove("toured");
  if (i >= NOTES.length) return;
  const [selector, text] = NOTES[i];
  const target = $(selector);
  if (target.offsetParent === null) return step(i + 1);
  target.classList.add("toured");
  target.scrollIntoView({ block: "nearest" });
  const next = button(i + 1 < NOTES.length ? "Next" : "Done", () => step(i + 1));
  const note = element("div", { id: "note", role: "dialog", "aria-label": "Tour" },
    element("p", {}, text), next, button("End tour", () => step(NOTES.length)));
  note.addEventListener("keydown", ({ key }) => key === "Escape" && step(NOTES.length));
  document.body.append(note);
  const { top, left, height } = target.getBoundingClientRect();
  note.style.top = `${Math.min(top + Math.min(height, 80), innerHeight - 160)}px`;
  note.style.left = `${Math.min(Math.max(left + 20, 10), innerWidth - 330)}px`;
  next.focus();
}
