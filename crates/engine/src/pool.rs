//! Threads that share a list of tasks.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

/// How many threads this machine runs at once: 1 where it does not tell.
pub fn n_processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Runs each task once, on as many threads as there are work spaces, and returns when all are done.
///
/// A thread takes the next task in order whenever it is free. Who runs a task must not matter to
/// its result. One work space, or one task, runs on the calling thread alone.
pub(crate) fn each<T, W>(
    tasks: impl IntoIterator<Item = T, IntoIter: Send>,
    work_spaces: &mut [W],
    run: impl Fn(T, &mut W) + Sync,
) where
    T: Send,
    W: Send,
{
    let mut tasks = tasks.into_iter();
    let Some((own, others)) = work_spaces.split_first_mut() else {
        unreachable!("there is a work space per thread");
    };
    let n_tasks = tasks.size_hint().1.unwrap_or(usize::MAX);
    let n_others = others.len().min(n_tasks.saturating_sub(1));
    if n_others == 0 {
        tasks.for_each(|task| run(task, own));
        return;
    }
    let tasks = Mutex::new(&mut tasks);
    let work = |work_space: &mut W| {
        loop {
            // A panic in another task ends the scope with that panic; the list itself is whole.
            let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(task) = task else { return };
            run(task, work_space);
        }
    };
    thread::scope(|scope| {
        for other in &mut others[..n_others] {
            scope.spawn(|| work(other));
        }
        work(own);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_on_any_number_of_threads() {
        for n_threads in [1, 2, 8] {
            let mut out = vec![0_u32; 100];
            each(out.iter_mut().enumerate(), &mut vec![(); n_threads], |(index, place), ()| {
                *place += index as u32 + 1;
            });
            assert!(out.iter().zip(1..).all(|(&found, expected)| found == expected));
        }
    }
}
