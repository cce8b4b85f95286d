// Cumulative distribution of the map's values, with a threshold that can be dragged.

import { $, labels } from "./dom.js";
import { parse, text } from "./format.js";
import { isCause, SERVED, servedValues, ticks } from "./heatmap.js";
import { commit, emit, on, plan, shown } from "./state.js";
import { paint, scale } from "./view.js";

const WIDTH = 320, HEIGHT = 170, LEFT = 42, RIGHT = 308, TOP = 8, BOTTOM = 140;
const svg = $("#cdf");
svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);

const range = () => Math.log(scale.high / scale.low);
const across = (value) => LEFT + ((RIGHT - LEFT) * Math.log(value / scale.low)) / range();
const valueAt = (x) => scale.low * Math.exp(((x - LEFT) / (RIGHT - LEFT)) * range());
const up = (share) => BOTTOM - (BOTTOM - TOP) * share;

// Number of cells with a value below the threshold, and of those that count.
function counted(map, threshold, whole) {
  const all = whole ? map.flags.length : map.flags.reduce((sum, flags) => sum + (flags & SERVED), 0);
  return [below(servedValues(map), threshold), all];
}

function show() {
  const { map } = shown;
  $("#distribution-panel").hidden = !map || isCause(map);
  if (!map || isCause(map)) return;
  const other = compared();
  const marked = spaced(ticks(scale, map.unit)), levels = [0, 0.5, 1];
  const grid = [...marked.map(([value]) => `M${across(value)} ${TOP}V${BOTTOM}`),
    ...levels.map((share) => `M${LEFT} ${up(share)}H${RIGHT}`)];
  labels(svg, [...marked.map(([value, label]) => [across(value), BOTTOM + 12, label, "middle"]),
    ...levels.map((share) => [LEFT - 4, up(share), `${100 * share} %`, "end"])]);
  const line = plan.threshold && within(plan.threshold)
    ? `<g id="limit" transform="translate(${across(plan.threshold)} 0)" tabindex="0" role="slider"
      aria-label="Threshold" aria-valuemin="${scale.low}" aria-valuemax="${scale.high}"
      aria-valuenow="${plan.threshold}" aria-valuetext="${text(plan.threshold, map.unit)}"><line
      y1="${TOP}" y2="${BOTTOM}"/><circle cy="${TOP + 4}" r="7"/><rect x="-11" width="22"
      height="${BOTTOM}" class="grip"/></g>` : "";
  const focused = document.activeElement?.id === "limit";
  svg.innerHTML = `<path class="grid" d="${grid.join("")}"/>${
    other ? `<polyline class="other" points="${curve(other)}"/>` : ""}<polyline points="${curve(map)}"/>${line}`;
  if (focused) $("#limit")?.focus();
  showShare(map);
}

// The map of A, if there is one of the same quantity.
const compared = () => (shown.other?.quantity === shown.map.quantity ? shown.other : null);

// Points of the share of the cells below each value.
function curve(map) {
  const values = servedValues(map), [, all] = counted(map, 0, plan.whole), path = [];
  for (let pixel = LEFT; pixel <= RIGHT; pixel += 2) {
    path.push(`${pixel} ${up(below(values, valueAt(pixel)) / Math.max(all, 1)).toFixed(1)}`);
  }
  return path.join(",");
}

const within = (value) => value >= scale.low && value <= scale.high;

// Every tick that leaves room for its text.
function spaced(all) {
  let last = -Infinity;
  return all.filter(([value]) => {
    if (across(value) - last < 44) return false;
    last = across(value);
    return true;
  });
}

function below(sorted, limit) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

function showShare(map) {
  const input = $("#threshold");
  if (document.activeElement !== input) input.value = plan.threshold ? text(plan.threshold, map.unit) : "";
  $("#denominator").value = plan.whole ? "whole" : "served";
  if (!plan.threshold) {
    $("#share").textContent = "Drag the threshold, or write one.";
    return;
  }
  const [under, all] = counted(map, plan.threshold, plan.whole);
  const area = plan.whole ? "whole area" : "served area";
  const share = percent(under, all), other = compared();
  Object.assign($("#share").dataset, { below: under, all });
  $("#share").textContent = `${share} of the ${area} (${under} of ${all} cells) below ${
    text(plan.threshold, map.unit)}`;
  if (!other) return;
  const counts = counted(other, plan.threshold, plan.whole);
  $("#share").textContent += ` in B (solid); ${percent(...counts)} in A (dashed)`;
}

const percent = (part, all) => (all ? `${Number(((100 * part) / all).toPrecision(3))} %` : "nothing");

function setThreshold(value) {
  plan.threshold = value;
  paint();
}

svg.addEventListener("pointerdown", (event) => {
  if (!event.target.closest("#limit")) return;
  svg.setPointerCapture(event.pointerId);
  const { left, width } = svg.getBoundingClientRect();
  const move = (each) => {
    const x = ((each.clientX - left) / width) * WIDTH;
    setThreshold(valueAt(Math.min(Math.max(x, LEFT), RIGHT)));
  };
  svg.addEventListener("pointermove", move);
  svg.addEventListener("lostpointercapture", () => {
    svg.removeEventListener("pointermove", move);
    commit();
  }, { once: true });
});

svg.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
  if (!step || event.target.id !== "limit") return;
  event.preventDefault();
  const moved = plan.threshold * Math.exp((step * range()) / 100);
  setThreshold(Math.min(Math.max(moved, scale.low * 1.0001), scale.high * 0.9999));
  commit();
});

$("#threshold").addEventListener("change", ({ target }) => {
  const value = parse(target.value, shown.map?.unit ?? "m");
  const wrong = target.value.trim() !== "" && !(value > 0);
  target.setCustomValidity(wrong ? "Write a number with a unit, e.g. 10 cm." : "");
  target.reportValidity();
  if (wrong) return;
  setThreshold(value);
  commit();
});

$("#denominator").addEventListener("change", ({ target }) => {
  plan.whole = target.value === "whole";
  show();
  commit();
});

on("map", () => {
  // A first threshold, so that there is something to drag: the median.
  const values = servedValues(shown.map);
  if (plan.threshold === null && values.length) {
    plan.threshold = values[values.length >> 1];
    paint();
  }
});
on("painted", show);
on("open", show);
