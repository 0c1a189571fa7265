//! In CI every clone is checked in one place, where the compiler finds what it kept the last time.

use crate::{ages::Scene, tree::root};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

/// What `.ci/run` calls besides the tools of the path.
const SCRIPTS: [&str; 4] =
    ["tests/machines/run", "tests/dashboard/run", "tests/compat/run", "tests/deploy/check"];
/// Tools that do nothing here but to note where they are called.
const TOOLS: [&str; 4] = ["cargo", "cargo-nextest", "cargo-deny", "typos"];

/// The list of checks in a repository of its own, with tools that note where they are called.
fn scene() -> Option<Scene> {
    let scene = Scene::new()?;
    let is_there = Command::new("flock").arg("--version").output().is_ok();
    if !is_there {
        eprintln!("skipped: there is no flock");
        return None;
    }
    for file in [".ci/run", ".ci/ages.py"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        write(&scene.path("origin").join(file), &text);
    }
    for script in SCRIPTS {
        write(&scene.path("origin").join(script), "");
    }
    for tool in TOOLS {
        let path = scene.path("bin").join(tool);
        write(&path, "#!/bin/sh\necho \"$PWD ${CARGO_INCREMENTAL-unset}\" >> \"$CALLS\"\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    scene.commit("one", "2");
    Some(scene)
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Runs the checks of a clone; where all of them ran, and what was said of incremental compiling.
fn check(scene: &Scene, clone: &str, ci: &str) -> String {
    let calls = scene.path("calls");
    let _ = fs::remove_file(&calls);
    let path = format!("{}:{}", scene.path("bin").display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .arg(scene.path(clone).join(".ci/run"))
        .env_remove("CARGO_INCREMENTAL")
        .envs([("CI", ci), ("PATH", path.as_str())])
        .envs([("CALLS", &calls), ("CARGO_TARGET_DIR", &scene.path("build"))])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("all checks passed"), "{text}{error}");
    let calls = fs::read_to_string(calls).unwrap();
    let mut places: Vec<&str> = calls.lines().collect();
    assert!(places.len() > 5, "{calls}");
    places.dedup();
    assert_eq!(places.len(), 1, "{calls}");
    places[0].to_owned()
}

#[test]
fn clones_without_changes_are_checked_in_one_place() {
    let Some(scene) = scene() else { return };
    let place = fs::canonicalize(scene.path("build")).unwrap().join("source");
    let there = format!("{} 1", place.display());
    scene.clone("first");
    assert_eq!(check(&scene, "first", "true"), there);
    scene.commit("one", "3");
    scene.clone("second");
    assert_eq!(check(&scene, "second", "true"), there);
    let copied = fs::read_to_string(place.join("one")).unwrap();
    assert_eq!(copied, "3", "of the clone that is checked");
    // As a machine gets it that looks at one commit alone.
    scene.detach("second");
    assert_eq!(check(&scene, "second", "true"), there);
}

#[test]
fn others_are_checked_where_they_are() {
    let Some(scene) = scene() else { return };
    scene.clone("own");
    let own = fs::canonicalize(scene.path("own")).unwrap();
    assert_eq!(check(&scene, "own", ""), format!("{} unset", own.display()), "outside of CI");
    let there = format!("{} 0", own.display());
    fs::create_dir_all(scene.path("build")).unwrap();
    let lock = fs::File::create(scene.path("build/source.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(check(&scene, "own", "true"), there, "another run is there");
    drop(lock);
    fs::write(scene.path("own/one"), "4").unwrap();
    assert_eq!(check(&scene, "own", "true"), there, "not committed");
}
