// When maps and numbers are computed: coarsely during a drag, finely 150 ms after it.

import { Channel } from "./request.js";
import { emit, on, plan, shown } from "./state.js";

const FINE = 120, COARSE = 40, COARSER = 24; // cells along a side of a square map
const REST = 150, SLOW = 2500, LATEST = 250; // milliseconds
const channels = { scene: new Channel(), map: new Channel(), numbers: new Channel() };
let coarse = COARSE, resting = 0, warmed = "", dragged = false;
let following = [], waiting = 0; // what is asked for when the map has come

function job(path, use, more = {}) {
  const useOrProblems = (found) => {
    if (found.problems?.length) {
      shown.problems = found.problems;
      emit("problems");
      if (path === "/map" && channels.map.isLast) follow();
    } else {
      use(found);
    }
  };
  return { path, use: useOrProblems, ...more };
}

// Ask for more when the last map has come, because it would slow that map down; but wait for it for
// a short time only, as maps may be slow, and may follow each other during a drag.
function afterMap(asks, { moving }) {
  following = asks;
  if (!moving) waiting = clearTimeout(waiting);
  waiting ||= setTimeout(follow, LATEST);
}

function follow() {
  waiting = clearTimeout(waiting);
  for (const ask of following.splice(0)) ask();
}

function mapJob(cells, { wavefront = null, fine = false, silent = null } = {}) {
  const { quantity, area, steering } = plan, body = { quantity, area, steering, cells, wavefront };
  const { name, text } = plan;
  const asked = JSON.stringify(plan.overrides);
  const use = (map) => {
    if (silent) return silent();
    if (plan.name !== name || plan.text !== text) return;
    if (fine) coarse = map.milliseconds > SLOW ? COARSER : COARSE;
    if (map.redesigned) plan.design = JSON.parse(asked);
    shown.current.map = fine && asked === JSON.stringify(plan.overrides);
    plan.area ??= map.area;
    plan.quantity ??= map.quantity;
    shown.map = { ...map, fine };
    shown.problems = []; // it was valid
    emit("map");
    emit("problems");
    if (channels.map.isLast) follow();
    if (fine) warm();
  };
  return job("/map", use, { body, fine, silent });
}

function numbersJob({ wavefront = null, silent = false } = {}) {
  const asked = JSON.stringify([plan.overrides, plan.pins]);
  const use = (numbers) => {
    if (silent) return;
    shown.numbers = numbers;
    shown.current.numbers = asked === JSON.stringify([plan.overrides, plan.pins]);
    emit("numbers");
  };
  return job("/numbers", use, { body: { places: plan.pins, wavefront }, silent });
}

function sceneJob() {
  const asked = JSON.stringify(plan.overrides);
  const use = ({ problems, fields, ...scene }) => {
    if (asked !== JSON.stringify(plan.overrides)) return;
    shown.current.scene = true;
    shown.problems = problems;
    if (fields) shown.fields = fields;
    if (!problems.length) shown.scene = scene;
    emit("scene");
    emit("problems");
  };
  return { path: "/scene", body: {}, use };
}

const askScene = () => channels.scene.submit(sceneJob());
const askNumbers = (wavefront = null) => channels.numbers.submit(numbersJob({ wavefront }));

// Compile what a drag needs: the coarse map, then the numbers for the waves of the map.
function warm() {
  const still = Object.entries(plan.overrides).filter(([key]) => !/position$|azimuth$/.test(key));
  const { wavefront, columns, rows, quantity, steering } = shown.map;
  const key = JSON.stringify([plan.name, still, wavefront, columns, rows, quantity, steering, coarse]);
  if (key === warmed) return;
  const silent = () => {
    warmed = key;
    channels.numbers.submit(numbersJob({ wavefront, silent: true }));
  };
  channels.map.submit(mapJob(coarse, { wavefront, silent }));
}

function settle(held) {
  channels.map.submit(mapJob(FINE, { fine: true, wavefront: held ? shown.map?.wavefront : null }));
  if (held) return;
  if (!dragged) askScene(); // other fields than places may change what there is to see
  afterMap([() => askNumbers(), ...(dragged ? [askScene] : [])], { moving: false });
  dragged = false;
}

on("edit", ({ moving }) => {
  shown.current = { scene: moving && shown.current.scene, map: false, numbers: false };
  emit("stale");
  clearTimeout(resting);
  if (!moving) return settle(false);
  const wavefront = shown.map?.wavefront ?? null;
  dragged = true;
  channels.map.submit(mapJob(coarse, { wavefront }));
  afterMap([() => askNumbers(wavefront)], { moving });
  resting = setTimeout(() => settle(true), REST);
});

on("open", () => {
  Object.assign(shown, { scene: null, fields: [], problems: [], map: null, numbers: null });
  shown.current = { scene: false, map: false, numbers: false };
  clearTimeout(resting);
  waiting = clearTimeout(waiting);
  following = [];
  dragged = false;
  for (const channel of Object.values(channels)) channel.cancel();
  emit("stale");
  if (plan.name === null) return; // the start page
  askScene();
  channels.map.submit(mapJob(COARSE));
  fresh = true; // the fine map follows the coarse one, instead of replacing it
});

let fresh = false;
on("map", () => {
  if (!fresh) return;
  fresh = false;
  settle(false);
});

on("pins", () => {
  shown.current.numbers = false;
  emit("stale");
  askNumbers();
});
on("view", () => { // another quantity or area
  shown.current.map = false;
  emit("stale");
  settle(false);
});
