//! Reading the next thing while this one is used.

use crate::error::Stop;
use std::{sync::mpsc::sync_channel, thread};

/// Reads `n` things in order on a thread of its own and runs each on this one.
///
/// The next is read while one is used, and waits until that is done: no more than two exist at a
/// time. The first error ends both.
pub(super) fn each<T: Send>(
    n: usize,
    mut read: impl FnMut(usize) -> Result<T, Stop> + Send,
    mut run: impl FnMut(T) -> Result<(), Stop>,
) -> Result<(), Stop> {
    // Without room: the reader keeps what it has read until somebody takes it.
    let (sender, receiver) = sync_channel(0);
    thread::scope(|scope| {
        scope.spawn(move || {
            for index in 0..n {
                let thing = read(index);
                let is_last = thing.is_err();
                // Whoever takes them may have stopped.
                if sender.send(thing).is_err() || is_last {
                    return;
                }
            }
        });
        // Dropped at the end of the closure, before the scope waits for the reader.
        let receiver = receiver;
        for thing in &receiver {
            run(thing?)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Counted<'a>(usize, &'a AtomicUsize);

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.1.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn things_come_in_order_and_no_more_than_two_exist() {
        let (n_alive, mut seen) = (AtomicUsize::new(0), Vec::new());
        let read = |index| {
            assert!(n_alive.fetch_add(1, Ordering::SeqCst) < 2);
            Ok(Counted(index, &n_alive))
        };
        each(50, read, |thing| {
            seen.push(thing.0);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, (0..50).collect::<Vec<_>>());
        assert_eq!(n_alive.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn the_first_error_ends_reading_and_running() {
        let read = |index| if index < 3 { Ok(index) } else { Err(Error::Cancelled.into()) };
        let mut n_run = 0;
        let error = each(10, read, |_| {
            n_run += 1;
            Ok(())
        });
        assert!(matches!(error, Err(Stop::Us(Error::Cancelled))));
        assert_eq!(n_run, 3);

        let n_read = AtomicUsize::new(0);
        let read = |_| Ok(n_read.fetch_add(1, Ordering::SeqCst));
        let error =
            each(1000, read, |index| if index < 5 { Ok(()) } else { Err(Error::Cancelled.into()) });
        assert!(matches!(error, Err(Stop::Us(Error::Cancelled))));
        assert!(n_read.load(Ordering::SeqCst) <= 8);
    }
}
