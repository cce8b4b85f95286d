// The coordinates of the objects, and every field of the scenario with the checker's messages.

import { $, element } from "./dom.js";
import { commit, edit, on, plan, placeOf, problemsOf, shown } from "./state.js";

// Objects -----------------------------------------------------------------------------------------

function showObjects() {
  const objects = shown.scene?.objects ?? [];
  const keys = objects.map(({ key, name }) => `${key}=${name}`).join();
  const panel = $("#objects");
  if (panel.dataset.keys !== keys) {
    panel.replaceChildren(...objects.map(coordinates));
    panel.dataset.keys = keys;
  }
  for (const object of objects) {
    const group = panel.querySelector(`[data-key="${object.key}"]`);
    placeOf(object).forEach((value, i) => {
      const input = group.querySelectorAll("input")[i];
      setUnlessEdited(input, String(Number(value.toFixed(6))));
    });
    const faults = problemsOf(object.key);
    group.querySelector(".fault").textContent = faults.map(({ sentence }) => `${sentence}.`).join(" ");
    group.classList.toggle("faulty", faults.length > 0);
  }
}

function coordinates(object) {
  const inputs = ["x", "y", "z"].map((axis, i) => element("label", {}, axis, element("input", {
    type: "number", step: 0.01, "aria-label": `${axis} of ${object.name} in meters`,
    onchange: ({ target }) => {
      const position = [...placeOf(object)];
      if (!Number.isFinite(target.valueAsNumber)) return;
      position[i] = target.valueAsNumber;
      edit({ [`${object.key}.position`]: position });
      commit();
    },
  })));
  return element("fieldset", { "data-key": object.key }, element("legend", {}, object.name), ...inputs,
    element("span", {}, "m"), element("p", { className: "fault" }));
}

// Fields ------------------------------------------------------------------------------------------

function showFields() {
  const panel = $("#fields");
  const keys = shown.fields.map(({ key, title }) => `${key}=${title}`).join();
  if (panel.dataset.keys !== keys) {
    const unfolded = new Set([...panel.querySelectorAll("details[open]")].map((d) => d.dataset.key));
    panel.replaceChildren(...shown.fields.map((group) => groupOf(group, unfolded.has(group.key))));
    panel.dataset.keys = keys;
  }
  for (const { fields } of shown.fields) {
    for (const { key, value } of fields) {
      const input = document.getElementById(`field-${key}`);
      setUnlessEdited(input, value);
    }
  }
}

// Show a value in an input, unless another one is being written there.
function setUnlessEdited(input, value) {
  const { entered = input.value } = input.dataset;
  if (document.activeElement === input && input.value !== entered) return;
  input.value = input.dataset.entered = value;
}

function groupOf({ key, title, help, fields }, open) {
  return element("details", { open, "data-key": key },
    element("summary", {}, title, element("small", {}, ` ${help}`)), ...fields.map(fieldOf));
}

function fieldOf({ key, label, value, help, example, choices = [], long = false }) {
  const id = `field-${key}`;
  const onchange = ({ target }) => {
    edit({ [key]: target.value.trim() === "" ? null : target.value });
    commit();
  };
  const common = { id, onchange, "aria-describedby": `help-${key} fault-${key}` };
  let input;
  if (long) {
    input = element("textarea", { ...common, rows: Math.min(value.split("\n").length + 1, 16), spellcheck: false });
  } else if (choices.length) {
    input = element("select", common, ...choices.map((choice) => element("option", { value: choice },
      choice || "default")));
  } else {
    input = element("input", { ...common, placeholder: `default; e.g. ${example}`, spellcheck: false });
  }
  return element("div", { className: "field" }, element("label", { for: id }, label), input,
    element("p", { id: `fault-${key}`, className: "fault" }),
    element("small", { id: `help-${key}` }, help));
}

// The checker's sentences at their fields; those of no field, or of a folded one, above all.
function showProblems() {
  showObjects();
  for (const each of document.querySelectorAll("#fields .fault")) each.textContent = "";
  const listed = shown.problems.map(({ field, sentence }) => {
    const at = document.getElementById(`fault-${field}`);
    if (at) at.textContent = `${sentence}.`;
    return element("li", {}, field ? `${field}: ${sentence}.` : `${sentence}.`);
  });
  $("#problems").replaceChildren(...listed);
}

on("scene", () => {
  showObjects();
  showFields();
});
on("edit", showObjects);
on("problems", showProblems);
on("open", () => {
  $("#objects").replaceChildren();
  $("#fields").replaceChildren();
  $("#objects").dataset.keys = $("#fields").dataset.keys = "";
  if (plan.name) $("#problems").replaceChildren();
});
