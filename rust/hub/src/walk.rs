//! Walking a folder.

use std::fs;
use std::path::Path;

/// Calls `found` with the name and the path of everything below `folder` that is no folder. Links to
/// folders are not followed.
pub(super) fn walk(folder: &Path, found: &mut dyn FnMut(String, &Path)) {
    let mut waiting = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, folder)) = waiting.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let name = format!("{prefix}{name}");
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => waiting.push((format!("{name}/"), entry.path())),
                Ok(_) => found(name, &entry.path()),
                Err(_) => {}
            }
        }
    }
}
