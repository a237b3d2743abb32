// Runs kvcalc's Python, by Pyodide, beside the page. The first message says where the files are; every other is a request.

let inlined = null; // name -> base64 of gzip, where the page is one file; null where the files stand beside this one
let answer = null;

onmessage = async ({ data }) => {
  if (data.start) {
    inlined = data.start.inlined;
    if (inlined) self.importScripts = undefined; // Pyodide refuses workers that have it
    answer = start();
    answer.catch(() => {}); // told with each request
    return;
  }
  try {
    postMessage({ id: data.id, answer: (await answer)(data.request) });
  } catch (error) {
    postMessage({ id: data.id, failed: lastLine(error) });
  }
};

async function start() {
  postMessage({ progress: "Loading Python" });
  const archive = bytes("python.tar.gz");
  const [{ loadPyodide }, { default: createPyodideModule }] = await Promise.all(
    ["pyodide.mjs", "pyodide.asm.mjs"].map(async (name) => import(await address(name))),
  );
  const fromNetwork = self.fetch.bind(self);
  self.fetch = (url) => response(new URL(url).pathname.slice(1 + new URL(url).pathname.lastIndexOf("/")), fromNetwork);
  const python = await loadPyodide({
    indexURL: inlined ? "https://inlined.invalid/" : new URL(".", location).href,
    createPyodideModule,
    lockFileContents: { info: { abi_version: "2026_0", arch: "wasm32", platform: "emscripten_5_0_3", python: "3.14.2" }, packages: {} },
  });
  self.fetch = fromNetwork;
  postMessage({ progress: "Starting kvcalc" });
  const place = python.runPython("import site; site.getsitepackages()[0]");
  unpack(await gunzip(await archive), place, python.FS);
  python.registerJsModule("kvcalc_page", { read_now: readNow });
  const found = python.runPython("from kvcalc.web.export.in_browser import answer; answer");
  postMessage({ progress: "" });
  return found;
}

// Pyodide asks for its WebAssembly and its standard library. Some servers give WebAssembly no type, and then it is refused.
async function response(name, fromNetwork) {
  const headers = { "Content-Type": name.endsWith(".wasm") ? "application/wasm" : "application/octet-stream" };
  if (inlined) return new Response(await bytes(name), { headers });
  const found = await fromNetwork(name);
  if (!found.ok) throw new Error(`${name}: the server answered ${found.status}`);
  return new Response(found.body, { headers });
}

async function bytes(name) {
  if (inlined) return gunzip(decoded(inlined[name]));
  const found = await fetch(name);
  if (!found.ok) throw new Error(`${name}: the server answered ${found.status}`);
  return new Uint8Array(await found.arrayBuffer());
}

async function address(name) {
  return inlined ? URL.createObjectURL(new Blob([await bytes(name)], { type: "text/javascript" })) : `./${name}`;
}

// For Python, which cannot wait: an archive that few questions need. A worker may wait for the network.
function readNow(name) {
  if (inlined) return decoded(inlined[name]);
  const request = new XMLHttpRequest();
  request.open("GET", name, false);
  request.responseType = "arraybuffer";
  request.send();
  if (request.status !== 200) throw new Error(`${name}: the server answered ${request.status}`);
  return new Uint8Array(request.response);
}

function decoded(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const letters = atob(base64);
  const found = new Uint8Array(letters.length);
  for (let at = 0; at < letters.length; at += 1) found[at] = letters.charCodeAt(at);
  return found;
}

// What is not compressed (any more: a server may have done it on the way) stays as it is.
async function gunzip(data) {
  if (data[0] !== 0x1f || data[1] !== 0x8b) return data;
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A tar file as kvcalc writes it: files only, with names of up to 100 bytes and a prefix (ustar).
function unpack(tar, folder, FS) {
  const text = (from, size) => new TextDecoder().decode(tar.subarray(from, from + size)).replace(/\0.*$/s, "");
  const made = new Set();
  for (let at = 0; tar[at]; ) {
    const prefix = text(at + 345, 155);
    const path = `${folder}/${prefix ? `${prefix}/` : ""}${text(at, 100)}`;
    const size = parseInt(text(at + 124, 12), 8);
    const parent = path.slice(0, path.lastIndexOf("/"));
    if (!made.has(parent)) FS.mkdirTree(parent);
    made.add(parent);
    FS.writeFile(path, tar.subarray(at + 512, at + 512 + size));
    at += 512 + 512 * Math.ceil(size / 512);
  }
}

function lastLine(error) {
  return String(error?.message ?? error).trim().split("\n").pop();
}
