// The plan view: map, walls and normals on a canvas, objects as handles that can be moved.

import { metres, text } from "./format.js";
import * as heat from "./heatmap.js";
import { request } from "./request.js";
import { azimuthOf, commit, edit, emit, on, plan, placeOf, problemsOf, shown } from "./state.js";

const WALL = 14; // distance at which a surface snaps to a wall [px]
const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  "base station": "M0 -8 8 7 -8 7Z",
  surface: "M-7 -7h14v14h-14Z",
  user: "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0 -14 0",
  target: "M-8 0 0 -8 8 0 0 8Z",
};
const box = document.querySelector("#plan");
const canvas = document.querySelector("#canvas");
const handles = document.querySelector("#handles");
const readout = document.querySelector("#readout");
const ruler = document.querySelector("#ruler");

const view = { x: 0, y: 0, scale: 10 }; // centre [m], pixels per metre
export const scale = { low: 0.1, high: 1, of: null }; // of the colours; held until "fit"
let layers = null; // images of the map
let measured = null; // the ruler: two points [m]
let cursor = null; // of the keyboard, x and y [m]

export const toPixels = ([x, y]) => [
  (x - view.x) * view.scale + box.clientWidth / 2,
  (view.y - y) * view.scale + box.clientHeight / 2,
];
const toMetres = (event) => {
  const { left, top } = box.getBoundingClientRect();
  return [
    (event.clientX - left - box.clientWidth / 2) / view.scale + view.x,
    view.y - (event.clientY - top - box.clientHeight / 2) / view.scale,
  ];
};

// Drawing -----------------------------------------------------------------------------------------

function hatch(context, kind) {
  const tile = new OffscreenCanvas(8, 8), pen = tile.getContext("2d");
  pen.strokeStyle = kind === "unserved" ? "#8a8a8a" : "rgba(255, 255, 255, 0.3)";
  pen.lineWidth = kind === "unserved" ? 1.2 : 1;
  pen.beginPath();
  const [from, to] = kind === "unserved" ? [8, 0] : [0, 8];
  for (const shift of [-8, 0, 8]) {
    pen.moveTo(shift, from);
    pen.lineTo(shift + 8, to);
  }
  pen.stroke();
  return context.createPattern(tile, "repeat");
}

function drawMap(context) {
  const { map } = shown;
  const [left, bottom] = toPixels([map.area[0], map.area[2]]);
  const [right, top] = toPixels([map.area[1], map.area[3]]);
  const place = [left, top, right - left, bottom - top];
  context.imageSmoothingEnabled = false;
  context.fillStyle = "#e4e4e4";
  context.fillRect(...place);
  context.drawImage(layers.image, ...place);
  for (const kind of ["unserved", "near"]) {
    if (!layers[kind]) continue;
    const layer = new OffscreenCanvas(canvas.width, canvas.height), pen = layer.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.setTransform(context.getTransform());
    pen.drawImage(layers[kind], ...place);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = hatch(pen, kind);
    pen.fillRect(0, 0, box.clientWidth, box.clientHeight);
    context.save();
    context.resetTransform();
    context.drawImage(layer, 0, 0);
    context.restore();
  }
  if (layers.contour) {
    for (const [colour, width] of [["#000", 3], ["#fff", 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke(pathOf(layers.contour));
    }
  }
}

function pathOf(lines) {
  const path = new Path2D();
  for (const [from, to] of lines) {
    path.moveTo(...toPixels(from));
    path.lineTo(...toPixels(to));
  }
  return path;
}

function draw() {
  const ratio = devicePixelRatio, context = canvas.getContext("2d");
  const colour = (name) => getComputedStyle(box).getPropertyValue(name);
  [canvas.width, canvas.height] = [box.clientWidth * ratio, box.clientHeight * ratio];
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  if (shown.map && layers) {
    context.globalAlpha = shown.current.map || !shown.problems.length ? 1 : 0.35;
    drawMap(context);
    context.globalAlpha = 1;
  }
  drawGrid(context, colour("--ink"));
  for (const { footprint } of shown.scene?.obstacles ?? []) {
    context.beginPath();
    footprint.forEach((corner) => context.lineTo(...toPixels(corner)));
    context.closePath();
    context.fillStyle = colour("--obstacle");
    context.fill();
    context.strokeStyle = colour("--ink");
    context.lineWidth = 1;
    context.stroke();
  }
  for (const object of shown.scene?.objects ?? []) {
    if (object.normal) drawNormal(context, toPixels(placeOf(object)), azimuthOf(object));
  }
  plan.pins.forEach(([x, y], i) => drawPin(context, toPixels([x, y]), i + 1));
  if (measured) drawRuler(context, colour("--ink"), colour("--paper"));
  if (cursor) {
    const [x, y] = toPixels(cursor);
    context.strokeStyle = "#fff";
    for (const [width, style] of [[3, "#000"], [1, "#fff"]]) {
      context.lineWidth = width;
      context.strokeStyle = style;
      context.stroke(new Path2D(`M${x - 9} ${y}h18M${x} ${y - 9}v18`));
    }
  }
}

function drawGrid(context, colour) {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 1e4]
    .find((each) => each * view.scale >= 70) ?? 1e5;
  const half = box.clientWidth / 2 / view.scale, tall = box.clientHeight / 2 / view.scale;
  context.fillStyle = colour;
  context.font = "11px system-ui, sans-serif";
  const label = (value, x, y) => {
    context.strokeStyle = getComputedStyle(box).getPropertyValue("--paper");
    context.lineWidth = 3;
    context.strokeText(value, x, y);
    context.fillText(value, x, y);
  };
  for (let x = Math.ceil((view.x - half) / step) * step; x <= view.x + half; x += step) {
    const at = toPixels([x, 0])[0];
    if (at > 40 && at < box.clientWidth - 40) label(`${Number(x.toFixed(1))}`, at, box.clientHeight - 4);
  }
  for (let y = Math.ceil((view.y - tall) / step) * step; y <= view.y + tall; y += step) {
    label(`${Number(y.toFixed(1))}`, 3, toPixels([0, y])[1]);
  }
  label("m", box.clientWidth - 14, box.clientHeight - 4);
}

function drawNormal(context, [x, y], azimuth) {
  const tip = [x + 34 * Math.cos(azimuth), y - 34 * Math.sin(azimuth)];
  const wing = (turn) => [tip[0] - 9 * Math.cos(azimuth + turn), tip[1] + 9 * Math.sin(azimuth + turn)];
  for (const [width, colour] of [[5, "#000"], [2.5, "#e69f00"]]) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(...tip);
    context.moveTo(...wing(0.5));
    context.lineTo(...tip);
    context.lineTo(...wing(-0.5));
    context.stroke();
  }
}

function drawPin(context, [x, y], number) {
  context.beginPath();
  context.arc(x, y, 8, 0, 2 * Math.PI);
  context.fillStyle = "#fff";
  context.fill();
  context.lineWidth = 1.5;
  context.strokeStyle = "#000";
  context.stroke();
  context.fillStyle = "#000";
  context.font = "bold 11px system-ui, sans-serif";
  context.textAlign = "center";
  context.fillText(number, x, y + 4);
  context.textAlign = "start";
}

function drawRuler(context, ink, paper) {
  const [from, to] = measured.map(toPixels);
  for (const [width, colour] of [[4, paper], [1.5, ink]]) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.stroke(new Path2D(`M${from.join(" ")}L${to.join(" ")}`));
  }
}

export function redraw() {
  requestAnimationFrame(() => {
    draw();
    placeHandles();
  });
}

// Images of the map; `refit` chooses the scale of the colours anew.
export function paint({ refit = false } = {}) {
  const { map } = shown;
  if (!map) return redraw();
  const of = `${plan.name} ${plan.text?.length} ${map.quantity}`;
  if (refit || scale.of !== of) Object.assign(scale, heat.fittingScale(map), { of });
  layers = {
    image: heat.image(map, scale),
    unserved: heat.mask(map, (flags) => !(flags & heat.SERVED)),
    near: heat.mask(map, (flags) => flags === (heat.SERVED | heat.NEAR)),
    contour: plan.threshold && !heat.isCause(map) ? heat.contour(map, plan.threshold) : null,
  };
  emit("painted", { near: layers.near !== null, unserved: layers.unserved !== null });
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
    handle.setAttribute("aria-label", `${object.name}, x ${metres(position[0])}, y ${
      metres(position[1])}, z ${metres(position[2])}. Arrow keys move it.${
      faults.map(({ sentence }) => ` Problem: ${sentence}.`).join("")}`);
    handle.querySelector("title").textContent = faults[0]?.sentence ?? object.name;
  }
}

function handleOf(object) {
  const handle = document.createElementNS(SVG, "g");
  handle.dataset.key = object.key;
  handle.setAttribute("class", `handle ${object.kind.replace(" ", "-")}`);
  handle.setAttribute("tabindex", "0");
  handle.setAttribute("role", "button");
  handle.setAttribute("aria-roledescription", "movable object");
  handle.innerHTML = `<title></title><circle r="11" class="grip"/><path d="${SHAPES[object.kind]}"/>`;
  handle.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.stopPropagation();
    handle.setPointerCapture(event.pointerId);
    const { scene } = shown, at = toMetres(event), from = placeOf(current(object));
    const offset = [from[0] - at[0], from[1] - at[1]];
    let moved = false;
    const move = (each) => {
      const [x, y] = toMetres(each);
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
  const at = toMetres(event);
  if (ruler.getAttribute("aria-pressed") === "true") measured = [at, at];
  gesture = { moved: pointers.size > 1, from: [event.clientX, event.clientY] };
});

box.addEventListener("pointermove", (event) => {
  if (!pointers.has(event.pointerId)) return tell(toMetres(event));
  const before = pointers.get(event.pointerId), now = [event.clientX, event.clientY];
  const far = Math.hypot(now[0] - gesture.from[0], now[1] - gesture.from[1]);
  if (far > 4) gesture.moved = true;
  if (!gesture.moved) return;
  if (ruler.getAttribute("aria-pressed") === "true") {
    measured[1] = toMetres(event);
    const [from, to] = measured;
    readout.textContent = `Ruler: ${metres(Math.hypot(to[0] - from[0], to[1] - from[1]))}`;
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
      tell(toMetres(event));
      pin(toMetres(event));
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
  const kept = event ? toMetres(event) : [view.x, view.y];
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
  view.scale = Math.min(box.clientWidth / (x1 - x0 + 2 * margin), box.clientHeight / (y1 - y0 + 2 * margin));
  redraw();
}

// Compute the map of what is visible.
export function mapThisView() {
  const half = box.clientWidth / 2 / view.scale, tall = box.clientHeight / 2 / view.scale;
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
  if (plan.pins.length < 20) plan.pins.push(place);
  emit("pins");
  commit();
  redraw();
}

// Values ------------------------------------------------------------------------------------------

const reasons = new Map(); // of missing bounds, by place
let asking = 0;

// Say what the map has at a place, and why if there is no bound.
function tell([x, y]) {
  const { map } = shown;
  const cell = map ? heat.cellOf(map, x, y) : -1;
  if (cell < 0) {
    readout.textContent = `x ${metres(x)}, y ${metres(y)}`;
    return;
  }
  const place = heat.centreOf(map, cell), value = map.values[cell];
  const where = `x ${metres(place[0])}, y ${metres(place[1])}`;
  Object.assign(readout.dataset, { x: place[0], y: place[1], value });
  clearTimeout(asking);
  if (!(map.flags[cell] & heat.SERVED)) {
    readout.textContent = `${where}: ${map.unserved}`;
  } else if (heat.isCause(map)) {
    readout.textContent = `${where}: ${map.causes.split("; ")[value]}`;
  } else {
    const near = map.flags[cell] & heat.NEAR ? "; near field, the bound may be wrong" : "";
    readout.textContent = `${where}: ${map.label} ${text(value, map.unit)}${near}`;
    if (!Number.isFinite(value)) asking = setTimeout(() => tellReason(where, [...place, map.height]), 200);
  }
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
for (const event of ["stale", "problems", "pins"]) on(event, redraw);
on("scene", () => {
  if (!shown.map) showAll();
  redraw();
});
on("open", () => {
  layers = measured = cursor = null;
  scale.of = null;
});
