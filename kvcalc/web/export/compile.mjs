// node compile.mjs PYODIDE FOLDER: compiles each .py under FOLDER, and takes its place, with the very Python that will read it.
import { pathToFileURL } from "node:url";

const [pyodide, folder] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${pyodide}/pyodide.mjs`).href);
const python = await loadPyodide({ indexURL: `${pyodide}/` });
python.FS.mkdirTree("/sources");
python.FS.mount(python.FS.filesystems.NODEFS, { root: folder }, "/sources");
python.runPython(`
import py_compile
from pathlib import Path

for path in sorted(Path("/sources").rglob("*.py")):
    py_compile.compile(
        str(path),
        cfile=f"{path}c",
        dfile=str(path.relative_to("/sources")),
        doraise=True,
        optimize=2,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    path.unlink()
`);
