// Compiles a folder's Python to bytecode of another Python version than this machine has: with the CPython
// that Pyodide carries. Bytecode depends on the version alone, not on processor or system, and a function
// that finds none compiles at every cold start, which takes about twice as long.
//
//     node compile.mjs FOLDER EXPECTED_VERSION        (pyodide must be resolvable from the working folder)
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, expected] = process.argv.slice(2);
const require = createRequire(join(process.cwd(), "here.js"));
const { loadPyodide } = await import(pathToFileURL(require.resolve("pyodide/pyodide.mjs")));
const pyodide = await loadPyodide();
pyodide.mountNodeFS("/layer", folder);
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
