//! A fresh clone compiles what differs from the one that was compiled before it, and nothing else.

use crate::tree::root;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

/// A repository with two files, and the folder that its clones are compiled in.
pub(crate) struct Scene {
    folder: TempDir,
}

impl Scene {
    /// `None` where there is no git, or no Python.
    pub(crate) fn new() -> Option<Self> {
        let is_there = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
        if !is_there("git") || !is_there("python3") {
            eprintln!("skipped: there is no git, or no Python");
            return None;
        }
        let scene = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(scene.prints()).unwrap();
        scene.run("git", &["init", "-q", "origin"], ".");
        scene.commit("one", "1");
        scene.commit("two", "1");
        Some(scene)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where cargo notes what it has compiled.
    fn prints(&self) -> PathBuf {
        self.path("build/debug/.fingerprint/crate-0")
    }

    fn run(&self, program: &str, args: &[&str], inside: &str) -> String {
        let output =
            Command::new(program).args(args).current_dir(self.path(inside)).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn commit(&self, file: &str, text: &str) {
        fs::write(self.path("origin").join(file), text).unwrap();
        self.run("git", &["add", "."], "origin");
        let person = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
        self.run("git", &[&person[..], &["commit", "-q", "-m", file]].concat(), "origin");
    }

    pub(crate) fn clone(&self, name: &str) {
        self.run("git", &["clone", "-q", "origin", name], ".");
    }

    /// Leaves a clone on its commit without a branch.
    pub(crate) fn detach(&self, clone: &str) {
        self.run("git", &["checkout", "-q", "--detach"], clone);
    }

    fn ages(&self, step: &str, clone: &str) -> String {
        let (script, build) = (root().join(".ci/ages.py"), self.path("build"));
        let args = [script.to_str().unwrap(), step, build.to_str().unwrap()];
        self.run("python3", &args, clone)
    }

    /// A run of all checks, which compiles all.
    fn compile(&self, clone: &str) {
        self.ages("begin", clone);
        self.note("by us");
        self.ages("end", clone);
    }

    /// Something is compiled: later than all before it, and earlier than all after it.
    fn note(&self, what: &str) {
        self.tick();
        fs::write(self.prints().join(what), what).unwrap();
        self.tick();
    }

    /// Waits until a file is younger than one that was written before: clocks of files are coarse.
    fn tick(&self) {
        let written = || {
            fs::write(self.path("clock"), "").unwrap();
            age(&self.path("clock"))
        };
        let begun = written();
        while written() == begun {
            thread::yield_now();
        }
    }

    /// The files of a clone that cargo compiles again.
    fn stale(&self, clone: &str) -> Vec<&'static str> {
        let compiled = age(&self.prints().join("by us"));
        let is_young = |file: &&str| age(&self.path(clone).join(file)) > compiled;
        ["one", "two"].into_iter().filter(is_young).collect()
    }
}

fn age(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn a_clone_compiles_what_is_not_as_it_was_compiled_last() {
    let Some(scene) = Scene::new() else { return };
    scene.clone("first");
    scene.compile("first");
    fs::remove_dir_all(scene.path("first")).unwrap();

    scene.clone("second");
    assert_eq!(scene.stale("second"), ["one", "two"], "as it was cloned");
    assert!(scene.ages("begin", "second").starts_with("2 of 2"));
    assert_eq!(scene.stale("second"), [] as [&str; 0]);
    scene.ages("end", "second");

    // What was changed and changed back was compiled otherwise in between.
    scene.commit("two", "2");
    scene.clone("third");
    scene.ages("begin", "third");
    assert_eq!(scene.stale("third"), ["two"]);
    scene.note("by us");
    scene.ages("end", "third");
    scene.commit("two", "1");
    scene.clone("fourth");
    scene.ages("begin", "fourth");
    assert_eq!(scene.stale("fourth"), ["two"]);
}

#[test]
fn a_clone_compiles_all_where_something_else_may_have_been_compiled() {
    let Some(scene) = Scene::new() else { return };
    // Cloned before others are compiled: its own time would say that it is older.
    scene.clone("early");
    scene.clone("first");
    scene.compile("first");
    fs::write(scene.path("build/ages.json"), "{}").unwrap();
    scene.ages("begin", "early");
    assert_eq!(scene.stale("early"), ["one", "two"], "nothing is known");

    let is_all_stale = |clone: &str, why: &str| {
        scene.clone(clone);
        scene.ages("begin", clone);
        assert_eq!(scene.stale(clone), ["one", "two"], "{why}");
    };
    scene.note("by us");
    is_all_stale("second", "the run before did not end");
    scene.note("by us");
    scene.ages("end", "second");
    scene.note("by somebody else");
    is_all_stale("third", "somebody else compiled");
    scene.note("by us");
    scene.ages("end", "third");

    scene.clone("changed");
    fs::write(scene.path("changed/one"), "3").unwrap();
    let told = scene.ages("begin", "changed");
    assert!(told.contains("no fresh clone"), "{told}");
    scene.note("by us");
    scene.ages("end", "changed");
    is_all_stale("fourth", "what was not committed was compiled");
    scene.note("by us");
    let later = SystemTime::now() + Duration::from_secs(3_600);
    fs::File::options()
        .append(true)
        .open(scene.prints().join("by us"))
        .and_then(|file| file.set_modified(later))
        .unwrap();
    scene.ages("end", "fourth");
    is_all_stale("fifth", "the clock was set back");
}
