//! A process that is killed while it writes leaves the file of before or the new one.

use std::{
    env, fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

const FOLDER: &str = "AGON_DISK_TEST_FOLDER";
const BYTES: usize = 1 << 20;

/// Writes the same file over and over, each time of another byte.
fn write_for_ever(folder: &Path) -> ! {
    for byte in (0..=u8::MAX).cycle() {
        disk::write(&folder.join("file"), &vec![byte; BYTES]).unwrap();
    }
    unreachable!()
}

#[test]
fn a_writer_killed_at_any_moment_leaves_a_whole_file() {
    if let Some(folder) = env::var_os(FOLDER) {
        write_for_ever(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for round in 0..20_u64 {
        let mut writer = Command::new(env::current_exe().unwrap())
            .args(["--exact", "a_writer_killed_at_any_moment_leaves_a_whole_file"])
            .env(FOLDER, folder.path())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while !path.exists() && started.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_micros(100 + 1_700 * round));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), BYTES, "round {round}");
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "round {round}");
        fs::remove_file(&path).unwrap();
    }
}
