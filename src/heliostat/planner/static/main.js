// Start of the page: connects the toolbar, the scale, the legend and the banners.

import "./compute.js";
import "./fields.js";
import "./numbers.js";
import "./distribution.js";
import "./compare.js";
import "./placement.js";
import "./sweep.js";
import "./takeaway.js";
import { $, element } from "./dom.js";
import { loadStart } from "./files.js";
import * as heat from "./heatmap.js";
import { openAddress } from "./history.js";
import { displayed } from "./ratio.js";
import { watch } from "./request.js";
import { commit, emit, on, open, plan, shown } from "./state.js";
import { startTour } from "./tour.js";
import { mapThisView, paint, ratioScale, scale, showAll, zoom } from "./view.js";

$("#zoom-in").addEventListener("click", () => zoom(1.25));
$("#zoom-out").addEventListener("click", () => zoom(0.8));
$("#show-all").addEventListener("click", showAll);
$("#map-view").addEventListener("click", mapThisView);
$("#fit").addEventListener("click", () => paint({ refit: true }));
$("#tour").addEventListener("click", startTour);
$("#theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const present = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = present === "dark" ? "light" : "dark";
  paint();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint());
$("#quantity").addEventListener("change", ({ target }) => {
  plan.quantity = target.value;
  plan.threshold = null;
  emit("view");
  commit();
});

$("#steering").addEventListener("change", ({ target }) => {
  plan.steering = target.value;
  emit("view");
  commit();
});

// The quantity, the steering, the scale and the legend of the map.
on("map", () => {
  const { map } = shown, menu = $("#quantity");
  if (menu.dataset.of !== Object.keys(map.quantities).join()) {
    menu.replaceChildren(...Object.entries(map.quantities).map(([value, label]) =>
      element("option", { value }, label)));
    menu.dataset.of = Object.keys(map.quantities).join();
  }
  menu.value = plan.quantity;
  $("#steering").parentElement.hidden = map.steerings.length < 2;
  $("#steering").value = map.steering;
});

on("painted", ({ near }) => {
  const map = displayed();
  const cause = heat.isCause(map);
  $("#scale").hidden = cause;
  if (!cause) showScale(map);
  const entries = [];
  if (cause) {
    const present = new Set(map.values.filter((_, i) => map.flags[i] & heat.SERVED));
    map.causes.split("; ").forEach((name, i) => {
      if (present.has(i)) entries.push([heat.css(heat.causeColor(i)), name]);
    });
  } else if (map.ratio) {
    const [worse, better] = map.largeIsGood ? [0, Infinity] : [Infinity, 0];
    const color = (value) => heat.css(heat.colors(map, ratioScale)(value));
    entries.push([color(better), "B is better"], [color(worse), "A is better"]);
    if (map.values.some(Number.isNaN)) entries.push([heat.css(heat.NO_BOUND), "no bound in either"]);
  } else if (map.values.some((value, i) => map.flags[i] & heat.SERVED && value === Infinity)) {
    entries.push([heat.css(heat.NO_BOUND), "no bound exists; point at it for the reason"]);
  }
  if (map.flags.some((flags) => !(flags & heat.SERVED))) entries.push(["hatch", map.unserved]);
  if (near) entries.push(["near", "near field of a surface: bounds may be wrong"]);
  if (plan.threshold && !cause && !map.ratio) entries.push(["contour", "threshold"]);
  const list = $("#legend"), of = JSON.stringify(entries);
  if (list.dataset.of === of) return;
  list.dataset.of = of;
  list.replaceChildren(...entries.map(([kind, name]) => {
    const mark = element("span", { className: `mark ${kind}` });
    if (kind.startsWith("rgb")) mark.style.background = kind;
    return element("li", {}, mark, name);
  }));
});

function showScale(map) {
  const used = map.ratio ? ratioScale : scale;
  const letter = plan.other && !map.ratio ? (map === shown.map ? "B: " : "A: ") : "";
  $("#scale-label").textContent = letter + map.label;
  const width = $("#bar").clientWidth, room = 84; // pixels of a label
  const bar = $("#bar"), of = JSON.stringify([used, map.unit, map.ratio, map.quantity, width]);
  if (bar.dataset.of === of) return;
  bar.dataset.of = of;
  const context = $("#gradient").getContext("2d"), color = heat.colors(map, used);
  for (let x = 0; x < 256; x++) {
    context.fillStyle = heat.css(color(used.low * (used.high / used.low) ** (x / 255)));
    context.fillRect(x, 0, 1, 1);
  }
  let last = -Infinity;
  $("#ticks").replaceChildren(...heat.ticks(used, map.unit).flatMap(([value, label]) => {
    const at = Math.log(value / used.low) / Math.log(used.high / used.low);
    if ((at - last) * width < room) return [];
    last = at;
    const tick = element("span", {}, label);
    tick.style.left = `${100 * at}%`;
    return [tick];
  }));
}

// What is being done, over the map.
function showStatus() {
  const { map, current, problems } = shown;
  const fault = problems[0], finished = current.map && current.scene;
  $("#plan").classList.toggle("stale", !finished);
  $("#status").classList.toggle("fault", Boolean(fault));
  if (fault) $("#status").textContent = `${fault.sentence}. The map is the last valid one.`;
  else if (!map) $("#status").textContent = "Preparing, about 3 s";
  else if (!finished) $("#status").textContent = map.fine ? "Computing" : "Preview";
  else $("#status").textContent = "";
}
for (const event of ["map", "stale", "scene", "problems", "open"]) on(event, showStatus);

on("gone", () => {
  $("#gone").hidden = false;
  $("#gone").textContent = "The planner has ended, so nothing new is computed. Start it again with "
    + "heliostat plan; what you see stays until you close the page.";
});
on("alive", () => {
  if ($("#gone").hidden) return;
  $("#gone").hidden = true;
  if (plan.name) emit("edit", { moving: false });
});
on("refused", ({ error }) => {
  const close = element("button", { type: "button", textContent: "Close",
    onclick: () => { $("#refused").hidden = true; } });
  $("#refused").replaceChildren(element("span", {}, error.message), close);
  $("#refused").hidden = false;
});

watch(3);
const { own, names } = await loadStart();
if (!openAddress(names)) open(own);
addEventListener("hashchange", () => openAddress(names)); // written by hand, or a followed link
