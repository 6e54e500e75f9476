//! Checks that modules import only from the layers below them; included by the tests of each crate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Fails for each `crate::module` in a source file of a layer that is not below it. `layers` are the top-level
/// modules, highest first; modules of one layer do not know each other.
pub fn assert_arrows_go_down(crate_root: &str, layers: &[&[&str]]) {
    let src = Path::new(crate_root).join("src");
    let layer_of = |module: &str| layers.iter().position(|layer| layer.contains(&module));
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in sources(&src) {
        let below = file.strip_prefix(&src).unwrap();
        let first = below.components().next().unwrap();
        let own = first.as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if own == "lib" {
            continue;
        }
        let own_layer = layer_of(own).unwrap_or_else(|| panic!("{own} is in no layer"));
        let text = std::fs::read_to_string(&file).unwrap();
        // Unit tests may use what is above.
        let text = text.split("#[cfg(test)]").next().unwrap();
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for other in code.flat_map(imports) {
            seen += 1;
            match layer_of(&other) {
                Some(layer) if layer > own_layer || other == own => {}
                Some(_) => wrong.push(format!("{} imports {other}", below.display())),
                None => wrong.push(format!("{} imports {other}, of no layer", below.display())),
            }
        }
    }
    for folder in folders(&src) {
        wrong.extend(circle(&folder));
    }
    assert!(seen > 0, "no imports in {}", src.display());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The modules behind `crate::` in a line.
fn imports(line: &str) -> Vec<String> {
    names_behind(line, "crate::")
}

fn names_behind(line: &str, path: &str) -> Vec<String> {
    let name = |rest: &str| {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        rest[..end.unwrap_or(rest.len())].to_owned()
    };
    let behind = line.split(path).skip(1);
    behind.map(name).filter(|name| !name.is_empty()).collect()
}

/// A module of a folder that imports itself by way of its neighbours.
fn circle(folder: &Path) -> Option<String> {
    let mut imports: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_some_and(|ending| ending == "rs") && name != "mod" {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            imports.insert(name, names_behind(text, " super::"));
        }
    }
    imports.keys().find_map(|start| {
        let (mut found, mut next) = (Vec::new(), vec![start]);
        while let Some(module) = next.pop() {
            for other in imports.get(module).into_iter().flatten() {
                if other == start {
                    return Some(format!("{}: {start} imports itself", folder.display()));
                }
                if !found.contains(&other) {
                    found.push(other);
                    next.push(other);
                }
            }
        }
        None
    })
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(folders(&path));
        }
    }
    found
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}
