// Answers in this browser: a worker runs the same Python that `kvcalc web` runs on a machine.

const page = (globalThis.kvcalc ??= {});
const inlined = document.querySelectorAll("script[data-file]"); // where the page is one file
const waiting = new Map(); // id -> what to call with what became of it
let last = 0;

// A page on a disk may not start a worker that is a module.
const worker = new Worker(inlined.length ? address("worker.js") : "worker.js", { type: inlined.length ? "classic" : "module" });
worker.onmessage = ({ data }) => {
  if ("progress" in data) {
    page.progress?.(data.progress);
    return;
  }
  const { resolve, reject } = waiting.get(data.id);
  waiting.delete(data.id);
  if ("answer" in data) {
    resolve(JSON.parse(data.answer));
    if (data.id === 1) keep();
  } else {
    reject(new Error(`Python could not answer: ${data.failed}`));
  }
};
worker.onerror = (event) => {
  for (const { reject } of waiting.values()) reject(new Error(`Python could not be started: ${event.message}`));
  waiting.clear();
};
worker.postMessage({ start: { inlined: inlined.length ? texts() : null } });

page.answer = (request) =>
  new Promise((resolve, reject) => {
    last += 1;
    waiting.set(last, { resolve, reject });
    worker.postMessage({ id: last, request: JSON.stringify(request) });
  });

function texts() {
  return Object.fromEntries([...inlined].map((each) => [each.dataset.file, each.textContent]));
}

function address(name) {
  const found = [...inlined].find((each) => each.dataset.file === name);
  return URL.createObjectURL(new Blob([atob(found.textContent)], { type: "text/javascript" }));
}

// The page's files are kept for when there is no network, once it has what it needs.
function keep() {
  if (location.protocol !== "file:" && "serviceWorker" in navigator) {
    navigator.serviceWorker.register("service-worker.js").catch(() => {}); // then it is loaded again next time
  }
}
