// Drawing of the plan view on its canvas: map, grid, obstacles, normals, pinned places.

import { placement } from "./placement.js";
import { azimuthOf, plan, placeOf, shown } from "./state.js";
import { box, canvas, measure, size, toPixels, view } from "./viewport.js";

const layer = new OffscreenCanvas(1, 1); // of the hatch of the near field
const patterns = {};

function hatch(kind) {
  if (patterns[kind]) return patterns[kind];
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
  return (patterns[kind] = pen.createPattern(tile, "repeat"));
}

function drawMap(context, layers) {
  const { map } = layers;
  const [left, bottom] = toPixels([map.area[0], map.area[2]]);
  const [right, top] = toPixels([map.area[1], map.area[3]]);
  const place = [left, top, right - left, bottom - top];
  context.imageSmoothingEnabled = false;
  for (const style of ["#e4e4e4", hatch("unserved")]) { // stays visible where the image is transparent
    context.fillStyle = style;
    context.fillRect(...place);
  }
  context.drawImage(layers.image, ...place);
  if (layers.near) {
    const { width, height } = canvas, pen = layer.getContext("2d");
    Object.assign(layer, { width, height });
    pen.imageSmoothingEnabled = false;
    pen.setTransform(context.getTransform());
    pen.drawImage(layers.near, ...place);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = hatch("near");
    pen.fillRect(0, 0, size.width, size.height);
    context.save();
    context.resetTransform();
    context.drawImage(layer, 0, 0);
    context.restore();
  }
  if (layers.contour) {
    for (const [color, width] of [["#000", 3], ["#fff", 1.5]]) {
      context.strokeStyle = color;
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

// Draw everything but the handles: the images of the map, and the ruler and the cursor if there are any.
export function draw({ layers, measured, cursor }) {
  const ratio = devicePixelRatio, context = canvas.getContext("2d");
  const color = (name) => getComputedStyle(box).getPropertyValue(name);
  measure();
  const [width, height] = [size.width, size.height].map((each) => Math.round(each * ratio));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, size.width, size.height);
  if (layers) {
    context.globalAlpha = shown.current.map || !shown.problems.length ? 1 : 0.35;
    drawMap(context, layers);
    context.globalAlpha = 1;
  }
  for (const { footprint } of shown.scene?.obstacles ?? []) {
    context.beginPath();
    footprint.forEach((corner) => context.lineTo(...toPixels(corner)));
    context.closePath();
    context.fillStyle = color("--obstacle");
    context.fill();
    context.strokeStyle = color("--ink");
    context.lineWidth = 1;
    context.stroke();
  }
  drawAxes(context, color("--ink"), color("--paper"));
  drawPlacement(context);
  for (const object of shown.scene?.objects ?? []) {
    if (object.normal) drawNormal(context, toPixels(placeOf(object)), azimuthOf(object));
  }
  plan.pins.forEach(([x, y], i) => drawPin(context, toPixels([x, y]), i + 1));
  if (measured) drawRuler(context, measured, color("--ink"), color("--paper"));
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

function drawAxes(context, color, paper) {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 1e4]
    .find((each) => each * view.scale >= 70) ?? 1e5;
  const half = size.width / 2 / view.scale, tall = size.height / 2 / view.scale;
  context.fillStyle = color;
  context.font = "11px system-ui, sans-serif";
  context.strokeStyle = paper;
  context.lineWidth = 3;
  const label = (value, x, y) => {
    context.strokeText(value, x, y);
    context.fillText(value, x, y);
  };
  for (let x = Math.ceil((view.x - half) / step) * step; x <= view.x + half; x += step) {
    const at = toPixels([x, 0])[0];
    if (at > 40 && at < size.width - 40) label(`${Number(x.toFixed(1))}`, at, size.height - 4);
  }
  for (let y = Math.ceil((view.y - tall) / step) * step; y <= view.y + tall; y += step) {
    const at = toPixels([0, y])[1];
    if (at > 26) label(`${Number(y.toFixed(1))}`, 3, at);
  }
  label("x [m]", size.width - 34, size.height - 4);
  label("y [m]", 3, 13);
}

// Marked walls, and candidates: large where the goal is met at many places.
function drawPlacement(context) {
  for (const { start, end } of placement.walls) {
    for (const [width, color] of [[7, "#000"], [4, "#56b4e9"]]) {
      context.lineWidth = width;
      context.strokeStyle = color;
      context.stroke(pathOf([[start, end]]));
    }
  }
  const { candidates = [] } = placement.found ?? {};
  const best = Math.max(...candidates.map(([, , share]) => share), 1e-9);
  for (const [x, y, share] of candidates) {
    context.beginPath();
    context.arc(...toPixels([x, y]), 2 + (4 * share) / best, 0, 2 * Math.PI);
    context.fillStyle = "#56b4e9";
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = "#000";
    context.stroke();
  }
}

function drawNormal(context, [x, y], azimuth) {
  const tip = [x + 34 * Math.cos(azimuth), y - 34 * Math.sin(azimuth)];
  const wing = (turn) => [tip[0] - 9 * Math.cos(azimuth + turn), tip[1] + 9 * Math.sin(azimuth + turn)];
  for (const [width, color] of [[5, "#000"], [2.5, "#e69f00"]]) {
    context.lineWidth = width;
    context.strokeStyle = color;
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

function drawRuler(context, measured, ink, paper) {
  const [from, to] = measured.map(toPixels);
  for (const [width, color] of [[4, paper], [1.5, ink]]) {
    context.lineWidth = width;
    context.strokeStyle = color;
    context.stroke(new Path2D(`M${from.join(" ")}L${to.join(" ")}`));
  }
}
