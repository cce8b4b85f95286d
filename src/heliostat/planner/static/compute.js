// When maps and numbers are computed: coarsely during a drag, finely 150 ms after it.

import { Channel } from "./request.js";
import { emit, on, plan, shown } from "./state.js";

const FINE = 120, COARSE = 40, COARSER = 24; // cells along a side of a square map
const REST = 150, SLOW = 2500; // milliseconds
const channels = { scene: new Channel(), map: new Channel(), numbers: new Channel() };
let coarse = COARSE, resting = 0, warmed = "";

function job(path, use, more = {}) {
  const useOrProblems = (found) => {
    if (found.problems?.length) {
      shown.problems = found.problems;
      emit("problems");
    } else {
      use(found);
    }
  };
  return { path, use: useOrProblems, fine: false, ...more };
}

function mapJob(cells, { wavefront = null, fine = false, silent = false } = {}) {
  const body = { quantity: plan.quantity, area: plan.area, cells, wavefront };
  const { name, text } = plan;
  const asked = JSON.stringify(plan.overrides);
  const use = (map) => {
    if (silent || plan.name !== name || plan.text !== text) return;
    if (fine) coarse = map.milliseconds > SLOW ? COARSER : COARSE;
    if (map.redesigned) plan.design = JSON.parse(asked);
    shown.current.map = fine && asked === JSON.stringify(plan.overrides);
    plan.area ??= map.area;
    plan.quantity ??= map.quantity;
    shown.map = { ...map, fine };
    shown.problems = []; // it was valid
    emit("map");
    emit("problems");
    if (fine) warm();
  };
  return job("/map", use, { body, fine });
}

function numbersJob({ wavefront = null, silent = false } = {}) {
  const asked = JSON.stringify([plan.overrides, plan.pins]);
  const use = (numbers) => {
    if (silent) return;
    shown.numbers = numbers;
    shown.current.numbers = asked === JSON.stringify([plan.overrides, plan.pins]);
    emit("numbers");
  };
  return job("/numbers", use, { body: { places: plan.pins, wavefront } });
}

function sceneJob() {
  const asked = JSON.stringify(plan.overrides);
  const use = ({ problems, fields, ...scene }) => {
    if (asked !== JSON.stringify(plan.overrides)) return;
    shown.problems = problems;
    if (fields) shown.fields = fields;
    if (!problems.length) shown.scene = scene;
    emit("scene");
    emit("problems");
  };
  return { path: "/scene", body: {}, use };
}

// Compile what a drag needs: the coarse map, and the numbers for the waves of the map.
function warm() {
  const still = Object.entries(plan.overrides).filter(([key]) => !/position$|azimuth$/.test(key));
  const { wavefront, columns, rows, quantity } = shown.map;
  const key = JSON.stringify([plan.name, still, wavefront, columns, rows, quantity, coarse]);
  if (key === warmed) return;
  warmed = key;
  channels.map.submit(mapJob(coarse, { wavefront, silent: true }));
  channels.numbers.submit(numbersJob({ wavefront, silent: true }));
}

function settle(held) {
  if (!held) channels.scene.submit(sceneJob());
  channels.map.submit(mapJob(FINE, { fine: true, wavefront: held ? shown.map?.wavefront : null }));
  if (!held) channels.numbers.submit(numbersJob());
}

on("edit", ({ moving }) => {
  shown.current.map = shown.current.numbers = false;
  emit("stale");
  clearTimeout(resting);
  if (!moving) return settle(false);
  const wavefront = shown.map?.wavefront ?? null;
  channels.map.submit(mapJob(coarse, { wavefront }));
  channels.numbers.submit(numbersJob({ wavefront }));
  resting = setTimeout(() => settle(true), REST);
});

on("open", () => {
  Object.assign(shown, { scene: null, fields: [], problems: [], map: null, numbers: null });
  shown.current.map = shown.current.numbers = false;
  clearTimeout(resting);
  for (const channel of Object.values(channels)) channel.cancel();
  emit("stale");
  if (plan.name === null) return; // the start page
  channels.scene.submit(sceneJob());
  channels.map.submit(mapJob(COARSE));
  fresh = true; // the fine map follows the coarse one, instead of replacing it
});

let fresh = false;
on("map", () => {
  if (!fresh) return;
  fresh = false;
  settle(false);
});

on("pins", () => channels.numbers.submit(numbersJob()));
on("view", () => { // another quantity or area
  shown.current.map = false;
  emit("stale");
  settle(false);
});
