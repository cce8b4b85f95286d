// A computation with progress that can be canceled, and the controls that show it.

import { button, element } from "./dom.js";
import { Gone, stream } from "./request.js";
import { emit } from "./state.js";

// Controls of a study: a button that starts it, progress, cancel, and a status. `ask` returns path
// and body of the request, or null; `use` gets the result.
export function study(label, ask, use) {
  let running = null;
  const start = button(label, run);
  const cancel = button("Cancel", () => running?.abort(), { hidden: true, "aria-label": `Cancel: ${label}` });
  const bar = element("progress", { hidden: true, "aria-label": `Progress: ${label}` });
  const status = element("span", { role: "status", className: "hint" });
  const box = element("div", { className: "buttons" }, start, cancel, bar, status);

  function show(active) {
    start.disabled = active;
    cancel.hidden = bar.hidden = !active;
    if (active) bar.removeAttribute("value");
  }

  async function run() {
    const asked = ask();
    if (!asked) return;
    const controller = running = new AbortController();
    show(true);
    status.textContent = "Preparing";
    try {
      const result = await stream(asked.path, asked.body, controller.signal, ({ stage, done, total }) => {
        Object.assign(bar, { max: Math.max(total, 1), value: done });
        status.textContent = `${stage}: ${done} of ${total}`;
      });
      status.textContent = "";
      use(result, asked.body);
    } catch (error) {
      status.textContent = error.name === "AbortError" ? "Canceled" : "";
      if (error.name !== "AbortError" && !(error instanceof Gone)) emit("refused", { error });
    }
    if (running !== controller) return;
    running = null;
    show(false);
    if (cancel === document.activeElement || document.activeElement === document.body) start.focus();
  }

  return { box, start, status, cancel: () => running?.abort() };
}
