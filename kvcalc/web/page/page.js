// The page: its fields, the state in its address, and one question at a time.

const { make, lines, grid, bar, block } = kvcalc.draw;
const at = (id) => document.getElementById(id);
const PAUSE = 250; // milliseconds after a key
const inputs = new Map(); // option -> its element
let form = null;
let timer = 0;
let running = false;
let waiting = false;
let shown = ""; // the fragment that the page shows

kvcalc.progress = (text) => {
  at("progress").textContent = text;
  at("progress").hidden = !text;
};

// The fields

function field(about) {
  const input = make("input", { id: about.name, type: about.switch ? "checkbox" : "text", "aria-describedby": `${about.name}-help` });
  if (!about.switch) {
    input.placeholder = about.placeholder;
    input.spellcheck = false;
  }
  const label = make("label", { for: about.name }, about.label);
  const help = make("span", { id: `${about.name}-help`, class: "help" }, about.help);
  inputs.set(about.name, input);
  const whole = make("div", { class: about.switch ? "field switch" : "field" }, label, input, help);
  at(about.more ? "more-fields" : "fields").append(whole);
  input.addEventListener(about.switch ? "change" : "input", soon);
  if (about.name === "gpu") kvcalc.choice(input, (word) => kvcalc.answer({ ask: "gpus", word }), now);
  else if (about.values.length && !about.switch) kvcalc.choice(input, among(about.values), now);
}

function among(values) {
  return async (word) => ({ found: values.filter((each) => each.includes(word.toLowerCase())).map((name) => ({ name })) });
}

function state() {
  const options = {};
  for (const [name, input] of inputs) {
    const value = input.type === "checkbox" ? (input.checked ? "yes" : "") : input.value.trim();
    if (value) options[name] = value;
  }
  const text = at("model_text").value;
  return text.trim() ? { model: "", model_text: text, options } : { model: at("model").value.trim(), model_text: "", options };
}

function fill(from) {
  at("model").value = from.model;
  at("model_text").value = from.model_text;
  if (from.model_text) at("paste").open = true;
  for (const [name, input] of inputs) {
    const value = from.options[name] ?? "";
    if (input.type === "checkbox") input.checked = value !== "";
    else input.value = value;
    if (value && at("more").contains(input)) at("more").open = true;
  }
}

// Asking

function soon() {
  clearTimeout(timer);
  timer = setTimeout(now, PAUSE);
}

async function now() {
  clearTimeout(timer);
  if (running) {
    waiting = true;
    return;
  }
  running = true;
  do {
    waiting = false;
    at("answer").setAttribute("aria-busy", "true");
    const asked = state();
    await remember(asked);
    let answer;
    try {
      answer = await kvcalc.answer(request(asked));
    } catch (error) {
      answer = { error: { lines: [error.message] } };
    }
    if (!waiting) show(answer);
    if (!waiting && !answer.error) await showCurve(asked);
  } while (waiting);
  running = false;
  at("answer").removeAttribute("aria-busy");
}

function request({ model, model_text, options }) {
  const most = 2 * (form.most_characters + 1); // more is refused whatever follows
  return { ask: "estimate", ...(model_text ? { model_text: model_text.slice(0, most) } : model ? { model } : {}), options };
}

async function remember(asked) {
  const { fragment, whole } = await kvcalc.link.of(asked);
  at("linked").textContent = whole ? "" : "This text is too long for a link: the link has everything but the text.";
  if (fragment === shown) return;
  shown = fragment;
  history.replaceState(null, "", `#${fragment}`);
}

// Showing

function show(answer) {
  for (const input of document.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-errormessage");
  }
  at("details").hidden = Boolean(answer.error);
  if (answer.error) {
    refuse(answer.error);
    return;
  }
  at("headline").className = "";
  at("headline").replaceChildren(...lines(answer.headline));
  at("bar").replaceChildren(...(answer.bar ? bar(answer.bar) : []));
  at("capacity").replaceChildren(...fits(answer.capacity));
  at("question").replaceChildren(grid(answer.question, "Scenario"));
  at("memory").replaceChildren(grid(answer.memory, "Memory of a GPU"));
  at("further").replaceChildren(...lines(answer.further));
  at("notes").replaceChildren(...answer.notes.map((each) => make("p", {}, `note: ${each}`)));
  at("terms").replaceChildren(...answer.formulas.flatMap((each) => block(each, "Formulas")));
  at("command").replaceChildren(...(answer.command ? [make("code", {}, answer.command)] : []));
  document.title = answer.headline.lines[0].spans.map((each) => each.text).join("");
}

// The picture comes after the answer, which does not wait for it.
async function showCurve(asked) {
  at("answer").removeAttribute("aria-busy");
  let answer;
  try {
    answer = await kvcalc.answer({ ...request(asked), ask: "curve", narrow: matchMedia("(max-width: 40rem)").matches });
  } catch {
    return; // the next answer says that nobody answers
  }
  if (waiting) return;
  kvcalc.curve.show(answer);
}

function fits(capacity) {
  if (capacity.refused) return capacity.refused.map((each) => make("p", { class: "tone-faint" }, each));
  return [...lines(capacity.headline), grid(capacity.held, "What fits")];
}

function refuse({ lines: told, field }) {
  const wrong = field && at(field);
  if (wrong) {
    wrong.setAttribute("aria-invalid", "true");
    wrong.setAttribute("aria-errormessage", "headline");
    const folded = wrong.closest("details");
    if (folded) folded.open = true;
  }
  at("headline").className = "refused";
  at("headline").replaceChildren(...told.map((each) => make("p", {}, each)));
  at("bar").replaceChildren();
  document.title = "kvcalc";
}

// Texts and links

async function read(file) {
  if (!file) return;
  at("model_text").value = await file.slice(0, 4 * (form.most_characters + 1)).text();
  at("file").value = "";
  now();
}

async function follow() {
  if (location.hash.slice(1) === shown && shown) return;
  shown = location.hash.slice(1);
  try {
    fill(shown ? await kvcalc.link.read(shown, 4 * form.most_characters) : { model: form.start.model, model_text: "", options: form.start.options });
  } catch {
    refuse({ lines: ["The text in this link cannot be read: it was cut, or is no compressed text."] });
    return;
  }
  await now();
}

async function copy() {
  try {
    await navigator.clipboard.writeText(location.href);
    at("copied").textContent = "Copied.";
  } catch {
    at("copied").textContent = "The address of this page is the link.";
  }
}

async function begin() {
  try {
    form = await kvcalc.answer({ ask: "form" });
  } catch (error) {
    refuse({ lines: [error.message] });
    return;
  }
  form.fields.forEach(field);
  const rules = new CSSStyleSheet();
  rules.replaceSync(form.chart_style);
  document.adoptedStyleSheets = [rules];
  at("version").textContent = form.version;
  kvcalc.choice(at("model"), (word) => kvcalc.answer({ ask: "models", word }), () => {
    at("model_text").value = "";
    now();
  });
  at("model").addEventListener("change", () => {
    if (at("model").value.trim()) at("model_text").value = "";
    now();
  });
  at("model_text").addEventListener("input", soon);
  at("file").addEventListener("change", () => read(at("file").files[0]));
  at("clear").addEventListener("click", () => {
    at("model_text").value = "";
    now();
  });
  at("copy").addEventListener("click", copy);
  at("form").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => (at("formulas").open = true));
  await follow();
}

begin();
