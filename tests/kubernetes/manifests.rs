//! The manifests as `kubectl apply -k` would send them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

/// Where `tests/run` puts them.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/kubernetes");

/// One of the tools, or a file of theirs.
pub fn tool(path: &str) -> PathBuf {
    let path = Path::new(TOOLS).join(path);
    assert!(path.exists(), "{} is missing; tests/run installs it", path.display());
    path
}

/// A file or folder of the example.
pub fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kubernetes").join(path)
}

/// Runs one of the scripts beside this file.
pub fn script(name: &str, input: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubernetes").join(name);
    let mut command = Command::new(tool("bin/python"));
    let mut child =
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // Beside the reading: both pipes may be full at once.
    let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    writing.join().unwrap().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The documents in a YAML text.
pub fn documents(yaml: &str) -> Vec<Value> {
    let Value::Array(documents) = script("documents.py", yaml) else { panic!("no list") };
    documents
}

/// What kubectl makes of a folder.
pub fn kustomize(folder: &Path) -> Output {
    Command::new(tool("bin/kubectl")).arg("kustomize").arg(folder).output().unwrap()
}

/// Each folder that can be applied, with everything in it.
pub static FOLDERS: LazyLock<BTreeMap<String, Vec<Value>>> = LazyLock::new(|| {
    let entries = std::fs::read_dir(example("")).unwrap().map(|entry| entry.unwrap().path());
    let folders = entries.filter(|path| path.join("kustomization.yaml").exists());
    let render = |folder: PathBuf| {
        let output = kustomize(&folder);
        // It warns of what is deprecated, and changes nothing for it.
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{}: {said}", folder.display());
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        (name, documents(&String::from_utf8(output.stdout).unwrap()))
    };
    folders.map(render).collect()
});

/// Every document once, with the folder that it was first seen in.
pub fn distinct() -> Vec<(&'static str, &'static Value)> {
    let mut seen: Vec<(&str, &Value)> = Vec::new();
    for (folder, documents) in FOLDERS.iter() {
        for document in documents {
            if !seen.iter().any(|(_, other)| *other == document) {
                seen.push((folder, document));
            }
        }
    }
    seen
}

/// The documents of a kind.
pub fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == *kind).collect()
}

/// A text in a document.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} is no text in {value}"))
}

/// A list in a document, empty where it is not there.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The containers of a pod, sidecars included.
pub fn containers(pod: &Value) -> Vec<&Value> {
    list(pod, "/spec/initContainers").iter().chain(list(pod, "/spec/containers")).collect()
}

/// The pods of a folder: metadata with labels, and spec.
pub fn pods(documents: &[Value]) -> Vec<&Value> {
    of_kind(documents, "Deployment").into_iter().map(|deployment| &deployment["spec"]["template"]).collect()
}

/// `kind/name`, for messages.
pub fn name(document: &Value) -> String {
    format!("{}/{}", text(document, "/kind"), text(document, "/metadata/name"))
}

/// A text in a `keyward.toml`, under a key that is in it once.
pub fn setting<'a>(config: &'a str, key: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(key)?.trim_start().strip_prefix('=')?.split('"').nth(1);
    config.lines().find_map(value)
}
