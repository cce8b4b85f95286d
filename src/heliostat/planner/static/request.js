// Requests to the server, and what happens when it is gone.

import { emit, plan } from "./state.js";

const token = new URLSearchParams(location.search).get("token");
const headers = { "Content-Type": "application/json", ...(token && { "X-Token": token }) };

export class Gone extends Error {}

function contentOf(body) {
  const { name, text, overrides, design } = plan;
  return JSON.stringify({ name, text, overrides, design, ...body });
}

// Send a request about the present scenario; the answer is JSON, or a map.
export async function request(path, body = {}, signal = undefined) {
  return answer(path, { method: "POST", headers, body: contentOf(body), signal });
}

async function sent(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    emit("gone");
    throw new Gone("The planner has ended.");
  }
  emit("alive");
  return response;
}

// Send a request whose answer is a file.
export async function file(path, body) {
  const response = await sent(path, { method: "POST", headers, body: contentOf(body) });
  if (response.headers.get("content-type") !== "application/json") return response.blob();
  const { refused, problems } = await response.json();
  throw new Error(refused ?? sentences(problems));
}

// Send a request whose answer is progress and a result, as lines of JSON.
export async function stream(path, body, signal, onProgress) {
  const response = await sent(path, { method: "POST", headers, body: contentOf(body), signal });
  if (response.headers.get("content-type") === "application/json") {
    throw new Error((await response.json()).refused);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("The planner stopped the study.");
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.map((each) => JSON.parse(each))) {
      if (line.result) return line.result;
      if (line.refused) throw new Error(line.refused);
      if (line.problems) throw new Error(sentences(line.problems));
      onProgress(line);
    }
  }
}

const sentences = (problems) => problems.map(({ field, sentence }) =>
  (field ? `${field}: ${sentence}.` : `${sentence}.`)).join(" ");

export async function answer(path, options = { headers }) {
  const response = await sent(path, options);
  const kind = response.headers.get("content-type") ?? "";
  if (kind.startsWith("application/octet-stream")) return unpacked(await response.arrayBuffer());
  if (!kind.startsWith("application/json")) throw new Error(await response.text());
  const found = await response.json();
  if (found.refused) throw new Error(found.refused);
  return found;
}

// A map as `planner.results.packed` writes it.
function unpacked(bytes) {
  const size = new DataView(bytes).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, size)));
  const count = header.columns * header.rows;
  const values = new Float32Array(bytes, 4 + size, count);
  return { ...header, values, flags: new Uint8Array(bytes, 4 + size + 4 * count, count) };
}

// One request under way at a time; of those that come meanwhile only the latest is sent.
export class Channel {
  #running = null;
  #waiting = null;

  // A job has a path, a body, `use` for the answer, `fine` if a newer job may abort it, and `silent`
  // if it only prepares the planner for later ones: then it never takes the place of another job.
  submit(job) {
    if (job.silent && this.#waiting) return;
    this.#waiting = job;
    if (this.#running === null) this.#next();
    else if (this.#running.job.fine && !job.silent) this.#running.controller.abort();
  }

  get isLast() {
    return this.#waiting === null;
  }

  cancel() {
    this.#waiting = null;
    this.#running?.controller.abort();
  }

  async #next() {
    const job = this.#waiting;
    this.#waiting = null;
    this.#running = job && { job, controller: new AbortController() };
    if (!job) return;
    try {
      const found = await request(job.path, job.body, this.#running.controller.signal);
      if (!this.#running.controller.signal.aborted) job.use(found);
    } catch (error) {
      if (error.name !== "AbortError" && !(error instanceof Gone)) emit("refused", { error });
    }
    this.#next();
  }
}

// Ask regularly whether the server still runs.
export function watch(seconds) {
  setInterval(() => fetch("/alive", { headers }).then(
    () => emit("alive"), () => emit("gone")), 1e3 * seconds);
}
