//! What makes the processes of `agon network up` end with it, however it ended.
//!
//! Whoever supervises holds a pipe to the standard input of each process and writes nothing. The
//! pipe closes when the supervisor is gone, even by a signal that it could not see. Everything that
//! a service knows is in its journal, so it ends at once.

use std::io::{self, Read as _};

/// Variable that is set for a process whose standard input is such a pipe.
pub const VARIABLE: &str = "AGON_SUPERVISED";

/// Exit code of a process whose supervisor is gone.
const ORPHANED: i32 = 1;

/// Ends this process when its supervisor is gone; does nothing where it has none.
pub fn end_with_supervisor() {
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    std::thread::spawn(|| {
        loop {
            match io::stdin().lock().read(&mut [0]) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => std::process::exit(ORPHANED),
            }
        }
    });
}
