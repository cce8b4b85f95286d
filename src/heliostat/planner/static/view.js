// The plan view: map, walls and normals on a canvas, objects as handles that can be moved.

import { $, drawn } from "./dom.js";
import { draw } from "./draw.js";
import { meters, text } from "./format.js";
import * as heat from "./heatmap.js";
import { adopt, placement } from "./placement.js";
import { displayed, otherAt } from "./ratio.js";
import { request } from "./request.js";
import { MOST_PINS, azimuthOf, commit, edit, emit, on, plan, placeOf, problemsOf, shown } from "./state.js";
import { box, measure, size, toMeters, toPixels, view } from "./viewport.js";

const WALL = 14; // distance at which a surface snaps to a wall [px]
const SHAPES = {
  "base station": "M0 -8 8 7 -8 7Z",
  surface: "M-7 -7h14v14h-14Z",
  user: "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0 -14 0",
  target: "M-8 0 0 -8 8 0 0 8Z",
};
const [handles, candidates, readout, ruler] = ["#handles", "#candidates", "#readout", "#ruler"].map($);

export const scale = { low: 0.1, high: 1, of: null }; // of the colors; held until "fit"
export const ratioScale = { low: 0.1, high: 10, of: null };
let layers = null; // images of the map
let measured = null; // the ruler: two points [m]
let cursor = null; // of the keyboard, x and y [m]
let seen = false; // whether there has been a scene since the scenario was opened

let due = 0;

export function redraw() {
  due ||= requestAnimationFrame(() => {
    due = 0;
    draw({ layers, measured, cursor });
    placeHandles();
    placeRanked();
  });
}

// Images of the map; `refit` chooses the scale of the colors anew.
export function paint({ refit = false } = {}) {
  const map = displayed();
  if (!map) return redraw();
  const { other } = shown, compared = other?.quantity === map.quantity;
  const of = `${plan.name} ${plan.text?.length} ${map.quantity} ${compared}`;
  if (refit || scale.of !== of) {
    Object.assign(scale, heat.fittingScale(shown.map, compared ? other : null), { of });
  }
  if (map.ratio && (refit || ratioScale.of !== of)) {
    Object.assign(ratioScale, heat.fittingScale(map), { of });
  }
  layers = {
    map,
    image: heat.image(map, map.ratio ? ratioScale : scale),
    near: heat.nearField(map),
    contour: plan.threshold && !map.ratio && !heat.isCause(map) ? heat.contour(map, plan.threshold) : null,
  };
  emit("painted", { near: layers.near !== null });
  redraw();
}

// Objects -----------------------------------------------------------------------------------------

function placeHandles() {
  const objects = shown.scene?.objects ?? [];
  const wanted = objects.map(({ key }) => key).join();
  if (handles.dataset.keys !== wanted) {
    handles.replaceChildren(...objects.map(handleOf));
    handles.dataset.keys = wanted;
  }
  for (const object of objects) {
    const handle = handles.querySelector(`[data-key="${object.key}"]`);
    const position = placeOf(object), faults = problemsOf(object.key);
    const [x, y] = toPixels(position);
    handle.setAttribute("transform", `translate(${x} ${y})`);
    handle.classList.toggle("faulty", faults.length > 0);
    handle.setAttribute("aria-label", `${object.name}, x ${meters(position[0])}, y ${
      meters(position[1])}, z ${meters(position[2])}. Arrow keys move it.${
      faults.map(({ sentence }) => ` Problem: ${sentence}.`).join("")}`);
    handle.querySelector("title").textContent = faults[0]?.sentence ?? object.name;
  }
}

// Ranked places of the placement: buttons with their number; each adopts its place.
function placeRanked() {
  const ranked = placement.found?.ranked ?? [];
  if (candidates.of !== ranked) {
    candidates.of = ranked;
    candidates.replaceChildren(...ranked.map(rankedOf));
  }
  ranked.forEach(({ position }, i) => {
    const [x, y] = toPixels(position);
    candidates.children[i].setAttribute("transform", `translate(${x} ${y})`);
  });
}

function rankedOf({ wall, share }, i) {
  const mark = drawn("g", { class: "candidate", tabindex: 0, role: "button",
    "aria-label": `Adopt place ${i + 1}, ${wall}, share ${(100 * share).toFixed(1)} %` },
  `<circle r="11" class="grip"/><text y="4" text-anchor="middle">${i + 1}</text>`);
  mark.addEventListener("pointerdown", (event) => event.stopPropagation());
  mark.addEventListener("click", () => adopt(i));
  mark.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    adopt(i);
  });
  return mark;
}

function handleOf(object) {
  const handle = drawn("g", { "data-key": object.key, class: `handle ${object.kind.replace(" ", "-")}`,
    tabindex: 0, role: "button", "aria-roledescription": "movable object" },
  `<title></title><circle r="11" class="grip"/><path d="${SHAPES[object.kind]}"/>`);
  handle.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.stopPropagation();
    handle.setPointerCapture(event.pointerId);
    const { scene } = shown, at = toMeters(event), from = placeOf(current(object));
    const offset = [from[0] - at[0], from[1] - at[1]];
    let moved = false;
    const move = (each) => {
      const [x, y] = toMeters(each);
      moved = true;
      edit(placed(current(object), [x + offset[0], y + offset[1]], scene), { moving: true });
    };
    const end = () => {
      handle.removeEventListener("pointermove", move);
      if (!moved) return;
      edit({}, { moving: false });
      commit();
    };
    handle.addEventListener("pointermove", move);
    handle.addEventListener("lostpointercapture", end, { once: true });
  });
  handle.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const [x, y, z] = placeOf(current(object)), size = event.shiftKey ? 1 : 0.1;
    const to = [rounded(x + size * step[0]), rounded(y + size * step[1]), z];
    edit({ [`${object.key}.position`]: to }, { moving: true });
  });
  handle.addEventListener("keyup", (event) => {
    if (!STEPS[event.key]) return;
    edit({}, { moving: false });
    commit();
  });
  return handle;
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const rounded = (value, digits = 2) => Number(value.toFixed(digits)) + 0;
const current = ({ key }) => shown.scene.objects.find((each) => each.key === key);

// Overrides that put an object at a place; a surface snaps to a wall near it and faces away from it.
function placed(object, [x, y], scene) {
  const z = placeOf(object)[2], key = object.key;
  if (object.kind === "surface") {
    for (const { start, end, azimuth_deg: azimuth } of scene.walls) {
      const along = [end[0] - start[0], end[1] - start[1]], length = Math.hypot(...along);
      const share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / length ** 2;
      const run = Math.min(Math.max(rounded(share * length), 0), length) / length;
      const foot = [start[0] + run * along[0], start[1] + run * along[1]];
      if (Math.hypot(foot[0] - x, foot[1] - y) * view.scale > WALL) continue;
      const vectors = object.vectors ? ["horizontal", "vertical", "normal"] : [];
      return {
        [`${key}.position`]: [rounded(foot[0], 6), rounded(foot[1], 6), z],
        [`${key}.azimuth`]: `${rounded(azimuth)} deg`,
        ...Object.fromEntries(vectors.map((name) => [`${key}.${name}`, null])),
      };
    }
  }
  return { [`${key}.position`]: [rounded(x), rounded(y), z] };
}

// Pointer and keys on the map ---------------------------------------------------------------------

const pointers = new Map();
let gesture = null;

box.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || event.target.closest(".handle")) return;
  box.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  const at = toMeters(event);
  if (ruler.getAttribute("aria-pressed") === "true") measured = [at, at];
  gesture = { moved: pointers.size > 1, from: [event.clientX, event.clientY] };
});

box.addEventListener("pointermove", (event) => {
  if (!pointers.has(event.pointerId)) return tell(toMeters(event));
  const before = pointers.get(event.pointerId), now = [event.clientX, event.clientY];
  const far = Math.hypot(now[0] - gesture.from[0], now[1] - gesture.from[1]);
  if (far > 4) gesture.moved = true;
  if (!gesture.moved) return;
  if (ruler.getAttribute("aria-pressed") === "true") {
    measured[1] = toMeters(event);
    const [from, to] = measured;
    readout.textContent = `Ruler: ${meters(Math.hypot(to[0] - from[0], to[1] - from[1]))}`;
  } else if (pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const spread = ([x, y]) => Math.hypot(x - other[0], y - other[1]);
    zoom(spread(now) / Math.max(spread(before), 1), { clientX: other[0], clientY: other[1] });
  } else {
    view.x -= (now[0] - before[0]) / view.scale;
    view.y += (now[1] - before[1]) / view.scale;
  }
  pointers.set(event.pointerId, now);
  redraw();
});

for (const end of ["pointerup", "pointercancel"]) {
  box.addEventListener(end, (event) => {
    if (!pointers.delete(event.pointerId)) return;
    const measuring = ruler.getAttribute("aria-pressed") === "true";
    if (end === "pointerup" && !gesture.moved && !measuring) {
      tell(toMeters(event));
      pin(toMeters(event));
    }
  });
}

box.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 400), event);
}, { passive: false });

box.addEventListener("keydown", (event) => {
  if (event.target !== box) return;
  const step = STEPS[event.key];
  if (step) {
    event.preventDefault();
    const size = (event.shiftKey ? 10 : 1) * cellSize();
    const from = cursor ?? [view.x, view.y];
    cursor = [from[0] + size * step[0], from[1] + size * step[1]];
    tell(cursor);
  } else if (event.key === "Enter" && cursor) {
    pin(cursor);
  } else if (event.key === "+" || event.key === "-") {
    zoom(event.key === "+" ? 1.25 : 0.8);
  } else if (event.key === "Escape") {
    cursor = null;
  }
  redraw();
});

const cellSize = () => (shown.map ? (shown.map.area[1] - shown.map.area[0]) / shown.map.columns : 1);

export function zoom(factor, event = null) {
  const kept = event ? toMeters(event) : [view.x, view.y];
  const before = view.scale;
  view.scale = Math.min(Math.max(before * factor, 1e-3), 1e4);
  view.x = kept[0] + ((view.x - kept[0]) * before) / view.scale;
  view.y = kept[1] + ((view.y - kept[1]) * before) / view.scale;
  redraw();
}

export function showAll() {
  let [x0, x1, y0, y1] = plan.area ?? [Infinity, -Infinity, Infinity, -Infinity];
  for (const object of shown.scene?.objects ?? []) {
    const [x, y] = placeOf(object);
    [x0, x1, y0, y1] = [Math.min(x0, x), Math.max(x1, x), Math.min(y0, y), Math.max(y1, y)];
  }
  if (!(x1 >= x0)) return;
  const margin = plan.area ? 0 : 0.2 * Math.max(x1 - x0, y1 - y0, 1);
  [view.x, view.y] = [(x0 + x1) / 2, (y0 + y1) / 2];
  measure();
  view.scale = Math.min(size.width / (x1 - x0 + 2 * margin), size.height / (y1 - y0 + 2 * margin));
  redraw();
}

// Compute the map of what is visible.
export function mapThisView() {
  const half = size.width / 2 / view.scale, tall = size.height / 2 / view.scale;
  plan.area = [view.x - half, view.x + half, view.y - tall, view.y + tall].map((each) => rounded(each));
  emit("view");
  commit();
}

ruler.addEventListener("click", () => {
  const pressed = ruler.getAttribute("aria-pressed") !== "true";
  ruler.setAttribute("aria-pressed", pressed);
  measured = null;
  readout.textContent = pressed ? "Ruler: drag from one place to another." : "";
  redraw();
});

function pin([x, y]) {
  const place = [rounded(x), rounded(y), shown.map?.height ?? 0];
  if (plan.pins.length < MOST_PINS) plan.pins.push(place);
  emit("pins");
  commit();
  redraw();
}

// Values ------------------------------------------------------------------------------------------

const reasons = new Map(); // of missing bounds, by place
let asking = 0;

// Say what the map has at a place, and why if there is no bound.
function tell([x, y]) {
  const map = displayed();
  const cell = map ? heat.cellOf(map, x, y) : -1;
  if (cell < 0) {
    readout.textContent = `x ${meters(x)}, y ${meters(y)}`;
    return;
  }
  const place = heat.centreOf(map, cell), value = map.values[cell];
  const where = `x ${meters(place[0])}, y ${meters(place[1])}`;
  Object.assign(readout.dataset, { x: place[0], y: place[1], value });
  clearTimeout(asking);
  if (!(map.flags[cell] & heat.SERVED)) {
    readout.textContent = `${where}: ${map.unserved}`;
  } else if (heat.isCause(map)) {
    readout.textContent = `${where}: ${map.causes.split("; ")[value]}`;
  } else if (map.ratio) {
    readout.textContent = `${where}: ${inWords(value, map, place)}`;
  } else {
    const near = map.flags[cell] & heat.NEAR ? "; near field, the bound may be wrong" : "";
    readout.textContent = `${where}: ${map.label} ${text(value, map.unit)}${near}`;
    if (!Number.isFinite(value) && map === shown.map) asking = setTimeout(() => tellReason(where, [...place, map.height]), 200);
  }
}

// Both values at a place, and their ratio.
function inWords(value, map, place) {
  const { unit, values } = shown.map, own = values[heat.cellOf(shown.map, ...place)];
  const both = `A ${text(otherAt(place), unit)}, B ${text(own, unit)}`;
  return value > 0 && value < Infinity ? `${both}; B relative to A: ${text(value, map.unit)}` : both;
}

async function tellReason(where, place) {
  const key = JSON.stringify([plan.overrides, place]);
  if (!reasons.has(key)) {
    try {
      const found = await request("/numbers", { places: [place], wavefront: shown.map.wavefront });
      if (reasons.size > 500) reasons.clear();
      reasons.set(key, found.places?.[0].reason ?? "");
    } catch {
      return; // the banner says why
    }
  }
  if (readout.textContent.startsWith(where)) readout.textContent = `${where}: no bound. ${reasons.get(key)}`;
}

new ResizeObserver(() => redraw()).observe(box);
on("map", () => paint());
for (const event of ["stale", "problems", "pins", "placement"]) on(event, redraw);
on("scene", () => {
  if (shown.scene && (!seen || !shown.map)) showAll(); // the map may come first
  seen ||= shown.scene !== null;
  redraw();
});
on("open", () => {
  seen = false;
  layers = measured = cursor = null;
  scale.of = ratioScale.of = null;
});
