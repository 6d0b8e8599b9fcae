// Compiles a folder's Python to bytecode of another Python version than this machine has: with the CPython
// that Pyodide carries. Bytecode depends on the version alone, not on processor or system, and a function
// that finds none compiles at every cold start, which takes about twice as long.
//
//     node compile.mjs FOLDER EXPECTED_VERSION EXPECTED_DIGEST        (in the folder where Pyodide is installed)
//
// Functions run this bytecode without comparing it with its source. So before Pyodide runs, all its files are
// compared with the digest in pyodide/<version>/tree.sha256: it lies in a cache that other programs can write to.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative, sep } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, expected, digest] = process.argv.slice(2);
const installed = join(process.cwd(), "node_modules");

// Every file of the packages, as `sha256sum` would list them. npm's own notes (.package-lock.json) don't belong to it.
const sha256 = (content) => createHash("sha256").update(content).digest("hex");
const lines = readdirSync(installed, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((path) => path !== join(installed, ".package-lock.json"))
    .map((path) => `${sha256(readFileSync(path))}  ${relative(installed, path).split(sep).join("/")}\n`);
const found = sha256(lines.sort().join(""));
if (found !== digest) {
    console.error(`${installed} is not the pinned Pyodide: its digest is ${found}, not ${digest}.`);
    console.error("Delete that folder and build again. If it happens again, the pins in pyodide/ are inconsistent.");
    process.exit(1);
}

const require = createRequire(join(process.cwd(), "here.js"));
const { loadPyodide } = await import(pathToFileURL(require.resolve("pyodide/pyodide.mjs")));
const pyodide = await loadPyodide();
pyodide.FS.mkdir("/layer"); // mountNodeFS does both, but not in the Pyodide that carries Python 3.11
pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root: folder }, "/layer");
pyodide.globals.set("expected", expected);
const failed = await pyodide.runPythonAsync(`
import compileall, py_compile, sys

version = f"{sys.version_info.major}.{sys.version_info.minor}"
if version != expected:
    sys.exit(f"this Pyodide carries Python {version}, not {expected}")
not compileall.compile_dir(
    "/layer", quiet=1, stripdir="/layer", invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
)
`);
process.exit(failed ? 1 : 0);
