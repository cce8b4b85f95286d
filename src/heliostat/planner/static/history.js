// Undo and redo, and the address: it contains the whole state but the text of an opened file.

import { $, button } from "./dom.js";
import { MOST_PINS, emit, initial, on, plan, restore, snapshot } from "./state.js";

const MOST = 200; // steps that are kept
const AUTOMATIC = ["quantity", "area", "threshold"]; // null until the first map has chosen them
let steps = [], at = -1, restoring = false, writing = 0;

const undoButton = button("Undo", () => go(-1), { title: "Ctrl+Z", "aria-keyshortcuts": "Control+Z" });
const redoButton = button("Redo", () => go(1), { title: "Ctrl+Shift+Z",
  "aria-keyshortcuts": "Control+Shift+Z" });
$("#history-buttons").append(undoButton, redoButton);

// Keep the present state as a step, unless it equals the last one.
function keep() {
  if (restoring) return;
  const step = snapshot();
  if (JSON.stringify(step) === JSON.stringify(steps[at])) return;
  steps = [...steps.slice(0, at + 1), step].slice(-MOST);
  at = steps.length - 1;
  show();
}

function go(direction) {
  const step = steps[at + direction];
  if (!step) return;
  at += direction;
  restoring = true;
  restore(step);
  emit("pins");
  restoring = false;
  show();
}

function show() {
  undoButton.disabled = at <= 0;
  redoButton.disabled = at >= steps.length - 1;
  clearTimeout(writing); // browsers limit how often the address may change
  writing = setTimeout(writeAddress, 100);
}

// What the first map chose belongs to the step before it; it is not a step of its own.
function complete() {
  const step = steps[at];
  if (!step || step.name !== plan.name) return;
  const missing = AUTOMATIC.filter((name) => step[name] === null && plan[name] !== null);
  for (const name of missing) step[name] = structuredClone(plan[name]);
  if (missing.length) show();
}

// A field whose text has been changed but not entered keeps the browser's own undo.
const edited = (input) => input.matches?.("input:not([type=file]), textarea")
  && input.value !== (input.dataset.entered ?? input.value);
document.addEventListener("focusin", ({ target }) => {
  if (target.matches("input, select, textarea")) target.dataset.entered = target.value;
});
document.addEventListener("change", ({ target }) => {
  if (target.matches("input, select, textarea")) target.dataset.entered = target.value;
});
document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || edited(event.target)) return;
  const key = event.key.toLowerCase();
  const direction = key === "y" || (key === "z" && event.shiftKey) ? 1 : key === "z" ? -1 : 0;
  if (!direction) return;
  event.preventDefault();
  go(direction);
});

// The address -------------------------------------------------------------------------------------

const storedAs = (name) => `heliostat scenario ${name}`;

// Parts of the state in the address, and what each may be; those with their initial value are left out.
const isObject = (given) => given !== null && typeof given === "object" && !Array.isArray(given);
const areNumbers = (given, count) => Array.isArray(given) && given.length === count
  && given.every(Number.isFinite);
const PARTS = {
  set: ["overrides", isObject],
  design: ["design", isObject],
  quantity: ["quantity", (given) => typeof given === "string"],
  steering: ["steering", (given) => ["each point", "fixed"].includes(given)],
  area: ["area", (given) => areNumbers(given, 4)],
  threshold: ["threshold", (given) => given > 0],
  whole: ["whole", (given) => typeof given === "boolean"],
  pins: ["pins", (given) => Array.isArray(given) && given.length <= MOST_PINS
    && given.every((place) => areNumbers(place, 3))],
  other: ["other", (given) => typeof given?.name === "string" && isObject(given.overrides)
    && isObject(given.design)],
  showing: ["showing", (given) => ["present", "other", "ratio"].includes(given)],
};

function writeAddress() {
  let fragment = "";
  if (plan.name !== null) {
    const parts = new URLSearchParams({ scenario: plan.name });
    const stored = { ...plan, other: plan.other && { ...plan.other, text: undefined } };
    for (const [part, [name]] of Object.entries(PARTS)) {
      const value = JSON.stringify(stored[name]);
      if (value !== JSON.stringify(initial[name])) parts.set(part, value.replace(/^"(.*)"$/, "$1"));
    }
    fragment = `#${parts}`;
  }
  if (fragment !== location.hash) {
    history.replaceState(null, "", location.pathname + location.search + fragment);
  }
}

// Text of an opened file that this tab has kept over a reload.
function storedText(name) {
  try {
    return sessionStorage.getItem(storedAs(name));
  } catch {
    return null; // the browser keeps nothing for this page
  }
}

// The state in the address; null if there is none.
function readAddress() {
  const parts = new URLSearchParams(location.hash.slice(1)), name = parts.get("scenario");
  if (!name) return null;
  const found = { ...structuredClone(initial), name };
  for (const [part, [key, fits]] of Object.entries(PARTS)) {
    if (!parts.has(part)) continue;
    let given = parts.get(part);
    try {
      given = JSON.parse(given);
    } catch {
      // text
    }
    if (fits(given)) found[key] = given;
    else emit("refused", { error: new Error(`The part ${part} of the address cannot be read.`) });
  }
  return found;
}

// Show the state in the address, if there is one; a scenario from a file is known to this tab only.
export function openAddress(known) {
  const found = readAddress();
  if (!found) return false;
  for (const state of [found, found.other].filter(Boolean)) {
    state.text = known.includes(state.name) ? null : storedText(state.name);
    if (state.text !== null || known.includes(state.name)) continue;
    emit("refused", { error: new Error(
      `The address belongs to the scenario ${state.name} of a file. Open that file first.`) });
    return false;
  }
  Object.assign(plan, found);
  emit("open");
  keep();
  return true;
}

on("open", () => {
  if (plan.text === null) return;
  try {
    sessionStorage.setItem(storedAs(plan.name), plan.text);
  } catch {
    // The file has to be opened again after a reload.
  }
});
on("commit", keep);
on("painted", complete);
undoButton.disabled = redoButton.disabled = true;
