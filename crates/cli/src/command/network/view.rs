//! What a person sees of all processes: their lines on stderr, each behind its name.

use super::log::RotatingLog;
use crate::terminal;
use protocol::text;
use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Lines that wait for a terminal that is slow; more than these are in the logs alone.
const LINES_WAITING_MAX: usize = 1_024;
/// Most letters of a line that are shown.
const LETTERS_SHOWN_MAX: usize = 1_000;
/// Colours of names, by the order of the processes.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];
/// How long the last lines are waited for, in pauses.
const N_PAUSES: usize = 20;
const PAUSE: Duration = Duration::from_millis(25);

/// Shows lines on stderr, in a thread of its own: nobody waits for a terminal that stands still.
pub struct View {
    lines: Option<SyncSender<String>>,
    n_lost: Arc<AtomicU64>,
    printer: JoinHandle<()>,
    width: usize,
    is_coloured: bool,
}

impl View {
    /// A view with room for names of so many letters.
    pub fn new(width: usize) -> Self {
        let (lines, waiting) = mpsc::sync_channel(LINES_WAITING_MAX);
        let n_lost = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&n_lost);
        let printer = std::thread::spawn(move || show(&waiting, &lost));
        let is_coloured = io::stderr().is_terminal() && !is_colourless();
        Self { lines: Some(lines), n_lost, printer, width, is_coloured }
    }

    /// What one process speaks by; `number` is its place among all.
    pub fn speaker(&self, name: &str, number: usize) -> Speaker {
        let padded = format!("{name:<width$} |", width = self.width);
        let colour = COLOURS.get(number % COLOURS.len()).filter(|_| self.is_coloured);
        let prefix = match colour {
            Some(colour) => format!("\u{1b}[{colour}m{padded}\u{1b}[0m"),
            None => padded,
        };
        Speaker { lines: self.lines.clone(), n_lost: Arc::clone(&self.n_lost), prefix }
    }

    /// Shows what waits, if the terminal takes it soon; all speakers must be gone.
    pub fn end(mut self) {
        self.lines = None;
        for _ in 0..N_PAUSES {
            if self.printer.is_finished() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whether colours are unwanted, by <https://no-color.org>.
fn is_colourless() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn show(waiting: &Receiver<String>, lost: &AtomicU64) {
    for line in waiting {
        let n_lost = lost.swap(0, Ordering::Relaxed);
        let mut out = io::stderr().lock();
        // A terminal that is gone is no reason to end: the logs have everything.
        let _ = match n_lost {
            0 => writeln!(out, "{line}"),
            _ => writeln!(out, "{line}\n({n_lost} lines before this one are in the logs alone)"),
        };
    }
}

/// Says lines in the name of a process.
#[derive(Clone)]
pub struct Speaker {
    lines: Option<SyncSender<String>>,
    n_lost: Arc<AtomicU64>,
    prefix: String,
}

impl Speaker {
    /// Shows a line, whoever wrote it; it is lost where the terminal does not follow.
    pub fn say(&self, line: &str) {
        let shown = text::shown(line, LETTERS_SHOWN_MAX);
        let Some(lines) = &self.lines else { return };
        if let Err(TrySendError::Full(_)) = lines.try_send(format!("{} {shown}", self.prefix)) {
            self.n_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Where the lines of one process go: its log, and the view.
pub struct Voice {
    log: Mutex<RotatingLog>,
    speaker: Speaker,
    last: Mutex<String>,
    is_log_lost: AtomicBool,
}

impl Voice {
    /// A voice with a log of its own.
    pub fn new(log: RotatingLog, speaker: Speaker) -> Self {
        let (log, last) = (Mutex::new(log), Mutex::default());
        Self { log, speaker, last, is_log_lost: AtomicBool::new(false) }
    }

    /// Takes a line of the process.
    pub fn tell(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let written =
            self.log.lock().unwrap_or_else(PoisonError::into_inner).append(line.as_bytes());
        match written {
            Ok(()) => self.is_log_lost.store(false, Ordering::Relaxed),
            // Said once: a disk that is full would be told of at every line.
            Err(error) if !self.is_log_lost.swap(true, Ordering::Relaxed) => {
                self.speaker.say(&format!("the log cannot be written: {error}"));
            }
            Err(_) => {}
        }
        self.speaker.say(&line);
        let shown = terminal::shown(&line);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// The last line.
    pub fn last(&self) -> String {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::network::log::LogLimits;

    /// A speaker with so much room for lines that wait, and whoever hears it.
    fn speaker(room: usize) -> (Speaker, Receiver<String>) {
        let (lines, heard) = mpsc::sync_channel(room);
        let prefix = "node |".to_owned();
        (Speaker { lines: Some(lines), n_lost: Arc::default(), prefix }, heard)
    }

    #[test]
    fn attack_a_process_speaks_in_its_own_name_alone() {
        let (speaker, heard) = speaker(8);
        speaker.say("ok\u{1b}[2J\rhub  | forged\nhub  | forged\u{202e}");
        let line = heard.recv().unwrap();
        assert!(line.starts_with("node | ok"), "{line}");
        assert!(line.chars().all(text::is_plain), "{line:?}");
        speaker.say(&"é".repeat(LETTERS_SHOWN_MAX * 5));
        let n_letters = heard.recv().unwrap().chars().count();
        assert_eq!(n_letters, "node | ".len() + LETTERS_SHOWN_MAX);
    }

    #[test]
    fn a_terminal_that_stands_still_holds_nobody_up_and_what_is_lost_is_counted() {
        let (speaker, heard) = speaker(2);
        for number in 0..5 {
            speaker.say(&number.to_string());
        }
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["node | 0", "node | 1"]);
        assert_eq!(speaker.n_lost.load(Ordering::Relaxed), 3);
        drop(heard);
        speaker.say("to nobody");
        assert_eq!(speaker.n_lost.load(Ordering::Relaxed), 3, "nobody is there to be told of it");
    }

    #[test]
    fn the_log_has_what_a_process_said_and_its_last_words_are_made_safe() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.log");
        let limits = LogLimits { size_bytes_max: 1 << 20, n_files_max: 1 };
        let (speaker, heard) = speaker(8);
        let voice = Voice::new(RotatingLog::open(&path, limits).unwrap(), speaker);
        assert_eq!(voice.last(), "");
        for line in [&b"first"[..], b"not \xff UTF-8", b"last\x1b[31m"] {
            voice.tell(line);
        }
        let log = std::fs::read_to_string(&path).unwrap();
        assert_eq!(log, "first\nnot \u{fffd} UTF-8\nlast\u{1b}[31m\n");
        assert_eq!(voice.last(), "last\u{fffd}[31m");
        assert_eq!(heard.try_iter().count(), 3);
    }
}
