//! The hub of a season: files, roots, and what is new.

use super::*;
use std::{sync::Arc, thread};

fn world() -> World {
    World::new(Noise::default(), 1)
}

#[test]
fn each_upload_has_a_revision_of_its_own_and_files_that_follow_from_tensors_and_packing() {
    let mut world = world();
    let model = world.library.independent(3.0);
    let [own, again] = [0, 1].map(|owner| world.upload(model, owner, Shown::Everybody, 0).unwrap());
    let packed = world.upload(model, 1, Shown::Everybody, 2).unwrap();
    let [own, again, packed] = [own, again, packed].map(|file| world.file(file).unwrap());
    assert_eq!(own.file_root, again.file_root, "the same bytes, whoever uploads them");
    assert_ne!(own.file_root, packed.file_root, "the same tensors in other files");
    assert_ne!(own.revision, again.revision);
    assert_eq!([own, again, packed].map(|upload| upload.owner), [0, 1, 1]);
    let root = world.library.tensor_root(model);
    assert_eq!(world.model_of(&root), Some(model));
    assert_eq!(world.model_of(&Digest::of(b"nobody's")), None);
}

#[test]
fn a_model_is_found_by_its_root_once_it_lies_on_the_hub() {
    let mut world = world();
    let [first, second] = [3.0, 2.9].map(|merit| world.library.independent(merit));
    let root = world.library.tensor_root(second);
    assert_eq!(world.model_of(&root), None, "it was made, and not uploaded");
    world.upload(first, 0, Shown::Nobody, 0).unwrap();
    world.upload(second, 0, Shown::Nobody, 0).unwrap();
    assert_eq!(world.model_of(&root), Some(second));
}

#[test]
fn what_is_new_was_uploaded_in_this_block_or_the_one_before() {
    let mut world = world();
    let model = world.library.independent(3.0);
    let mut new = Vec::new();
    for block in 1..=5 {
        world.begin(Block(block));
        assert_eq!(world.now, Block(block));
        // Nothing comes in the third block and later.
        let files: Vec<FileId> = if block < 3 {
            (0..2).filter_map(|owner| world.upload(model, owner, Shown::Everybody, 0)).collect()
        } else {
            Vec::new()
        };
        new.push(files);
        let place = new.len() - 1;
        let from = place.saturating_sub(1);
        let expected: Vec<FileId> = new[from..].concat();
        assert_eq!(world.newest().collect::<Vec<_>>(), expected, "block {block}");
    }
    assert_eq!(world.newest().count(), 0);
}

#[test]
fn what_is_shown_changes_for_the_files_that_are_named_alone() {
    let mut world = world();
    let model = world.library.independent(3.0);
    let [one, two] = [0, 0].map(|owner| world.upload(model, owner, Shown::Nobody, 0).unwrap());
    world.show(one, Shown::From(Block(5)));
    world.show(FileId(99), Shown::Everybody);
    let is_public = |file, block| world.file(file).unwrap().is_public(Block(block));
    assert_eq!([4, 5].map(|block| is_public(one, block)), [false, true]);
    assert!(!is_public(two, 9) && world.file(FileId(99)).is_none());
}

#[test]
fn a_world_is_there_after_a_thread_that_held_it_has_ended_badly() {
    let shared = Arc::new(Shared::new(world()));
    let other = Arc::clone(&shared);
    let held = thread::spawn(move || {
        other.lock().begin(Block(7));
        let _held = other.lock();
        panic!("on purpose");
    });
    let ended: thread::Result<()> = held.join();
    assert!(ended.is_err());
    assert_eq!(shared.lock().now, Block(7));
}
