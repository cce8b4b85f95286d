// State of the page, and the events by which its panels learn of changes.

export const MOST_PINS = 20;

// What is being planned. It is all that undo, the address and a reload need.
export const plan = {
  name: null, // of the scenario
  text: null, // YAML of an opened file; null for a packaged scenario
  overrides: {}, // values by dotted key, as for `--set`
  quantity: null,
  steering: null, // of the surfaces on the map, "each point" or "fixed"; null for the default
  area: null, // of the map: x0, x1, y0, y1 [m]; fixed once the first map is there
  threshold: null, // [SI]
  whole: false, // whether shares are of the whole area instead of the served one
  pins: [], // pinned places, x, y, z [m]
  other: null, // A of a comparison: name, text, overrides, design; B is the present scenario
  showing: "present", // or "other" or "ratio"
  design: {}, // overrides for which the held design of a sensing scenario was made
};

export const initial = structuredClone(plan);

// What the server answered last.
export const shown = {
  scene: null, // objects, walls, obstacles of the last valid scenario
  fields: [],
  problems: [], // of the present scenario
  map: null, // the last map
  other: null, // the map of A
  numbers: null,
  current: { scene: false, map: false, numbers: false },
};

const listeners = {};

export function on(event, listener) {
  (listeners[event] ??= []).push(listener);
}

export function emit(event, detail = {}) {
  for (const listener of listeners[event] ?? []) listener(detail);
}

// Change values of the scenario. While `moving`, only maps and numbers are computed, coarsely.
export function edit(values, { moving = false } = {}) {
  for (const [key, value] of Object.entries(values)) {
    for (const other of Object.keys(plan.overrides)) {
      if (other.startsWith(`${key}.`)) delete plan.overrides[other];
    }
    plan.overrides[key] = value;
  }
  emit("edit", { moving });
}

// A step that undo takes back: one drag, one changed field.
export function commit() {
  emit("commit");
}

export function snapshot() {
  return structuredClone(plan);
}

// Show another plan, e.g. of an earlier step.
export function restore(other) {
  const same = other.name === plan.name && other.text === plan.text;
  Object.assign(plan, structuredClone(other));
  emit(same ? "edit" : "open", { moving: false });
}

// Open a scenario without overrides; the start page has the name null.
export function open(name, text = null) {
  Object.assign(plan, structuredClone({ ...initial, name, text, other: plan.other }));
  emit("open");
  commit();
}

export function placeOf(object) {
  return plan.overrides[`${object.key}.position`] ?? object.position;
}

// Direction of a surface's normal from above [rad].
export function azimuthOf(object) {
  const turned = /^\s*(-?[\d.]+) deg$/.exec(plan.overrides[`${object.key}.azimuth`] ?? "");
  return turned ? (turned[1] * Math.PI) / 180 : Math.atan2(object.normal[1], object.normal[0]);
}

export function problemsOf(key) {
  return shown.problems.filter(({ field }) => field === key || field.startsWith(`${key}.`));
}
