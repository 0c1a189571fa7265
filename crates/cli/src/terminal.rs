//! What goes to the terminal besides data: log lines on stderr, and the end on Ctrl-C.

use crate::args::LogFormat;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use protocol::text::{self, is_plain};
use std::{
    io::IsTerminal as _,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tracing_subscriber::EnvFilter;

/// Sends log lines to stderr: warnings; with `--verbose` all that services tell; twice, what the
/// libraries tell; or what `AGON_LOG` asks for.
pub fn log_to_stderr(verbose: u8) {
    let level = ["warn", "info,agon=debug", "debug"][usize::from(verbose.min(2))];
    let filter = EnvFilter::try_from_env("AGON_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .compact()
        .init();
}

/// Sends the log lines of a service to stderr: its story, a line for each round, crown and setting
/// of weights; with `--verbose` more, or what `AGON_LOG` asks for.
pub fn log_as_service(verbose: u8, format: LogFormat) {
    IS_SERVICE.store(true, Ordering::Relaxed);
    let level = ["warn,agon=info", "info,agon=debug", "debug"][usize::from(verbose.min(2))];
    let filter = EnvFilter::try_from_env("AGON_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => {
            lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).compact().init();
        }
    }
}

/// Whether what people are told belongs into the log of a service.
static IS_SERVICE: AtomicBool = AtomicBool::new(false);

/// Tells people a sentence meanwhile: a line on stderr, or one of the log of a service.
pub fn tell(text: &str) {
    let text = shown(text);
    if IS_SERVICE.load(Ordering::Relaxed) {
        tracing::info!("{text}");
    } else {
        eprintln!("{text}");
    }
}

/// Whether a signal has asked this process to end.
static IS_STOPPING: AtomicBool = AtomicBool::new(false);

/// Whether a signal has asked this process to end; false where nobody called [`stop_on_signal`].
pub fn is_stopping() -> bool {
    IS_STOPPING.load(Ordering::Relaxed)
}

/// How long a service that is told to end may go on with what it is at: less than supervisors wait
/// before they kill.
const GRACE: Duration = Duration::from_secs(8);

/// Time between two looks at that flag where nothing else is waited for.
const TICK: Duration = Duration::from_millis(100);

/// Waits until a flag of [`stop_on_signal`] is raised.
pub fn wait_for_stop(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(TICK);
    }
}

/// A flag that Ctrl-C or a termination signal raises; a second signal ends the process at once.
pub fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    stop_and(|| {})
}

/// The same for a service, which ends with success within seconds of the first signal, whatever it
/// waits for: its journal lets it end anywhere.
pub fn stop_service_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    stop_and(|| end_after(GRACE, || std::process::exit(0)))
}

fn stop_and(then: impl Fn() + Send + 'static) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        IS_STOPPING.store(true, Ordering::Relaxed);
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        then();
    })?;
    Ok(stop)
}

/// Does something last of all after a time; at once where no thread is to be had.
fn end_after(time: Duration, end: fn()) {
    let later = move || {
        thread::sleep(time);
        end();
    };
    if thread::Builder::new().name("end".to_owned()).spawn(later).is_err() {
        end();
    }
}

/// The most memory this process has held at once, in bytes; `None` where the system does not tell.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// A text that may be a stranger's, in one line and safe for a terminal.
pub fn shown(text: &str) -> String {
    text::shown(text, usize::MAX)
}

/// Prints text for people on stdout; lines stay lines, and each of them is [`shown`].
///
/// The reader going away is an error that [`crate::failure`] knows.
pub fn print(text: &str) -> anyhow::Result<()> {
    let safe = |letter| {
        if letter == '\n' || letter == '\t' || is_plain(letter) { letter } else { '\u{fffd}' }
    };
    write(&text.chars().map(safe).collect::<String>())
}

/// Empties the terminal, to write on it from the top.
pub fn clear() -> anyhow::Result<()> {
    write("\u{1b}[2J\u{1b}[H")
}

fn write(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints one JSON document on stdout.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    write(&(spelled_out(&serde_json::to_string_pretty(value)?) + "\n"))
}

/// Prints one JSON document on a line of its own, for whoever reads along.
pub fn print_json_line(value: &impl serde::Serialize) -> anyhow::Result<()> {
    write(&(spelled_out(&serde_json::to_string(value)?) + "\n"))
}

/// JSON whose texts have the same value and hide nothing: what is not plain is an escape.
fn spelled_out(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter == '\n' || is_plain(letter) {
            text.push(letter);
        } else {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                text += &format!("\\u{unit:04x}");
            }
        }
    }
    text
}

/// A line that shows that something is going on; nothing where nobody looks.
pub fn spinner(message: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(message.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A bar that shows itself to whoever has waited for two seconds.
pub struct PatientBar {
    bar: ProgressBar,
    started: Instant,
    shown: Once,
}

impl PatientBar {
    /// Whoever waits longer sees the bar.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// A bar of this look; nothing is drawn where nobody looks.
    pub fn new(template: &str) -> anyhow::Result<Self> {
        let style = ProgressStyle::with_template(template)?;
        let bar = ProgressBar::hidden().with_style(style);
        Ok(Self { bar, started: Instant::now(), shown: Once::new() })
    }

    /// So much of the whole is done.
    pub fn set(&self, done: u64, all: u64, message: impl FnOnce() -> String) {
        if self.started.elapsed() < Self::PATIENCE {
            return;
        }
        self.bar.set_length(all);
        self.bar.set_position(done);
        self.bar.set_message(message());
        // Stays hidden where stderr is no terminal.
        self.shown.call_once(|| self.bar.set_draw_target(ProgressDrawTarget::stderr()));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_deceives_the_eye_reaches_the_terminal() {
        let text = "a\u{1b}[2Jb\n\u{202e}c\u{200b}d\u{2066}e\u{feff}ä日";
        assert_eq!(shown(text), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}ä日");
    }

    #[test]
    fn the_end_comes_after_its_time_whatever_else_goes_on() {
        static HAS_ENDED: AtomicBool = AtomicBool::new(false);
        end_after(Duration::from_millis(300), || HAS_ENDED.store(true, Ordering::Relaxed));
        assert!(!HAS_ENDED.load(Ordering::Relaxed), "whoever ends by itself has time");
        for _ in 0..1_000 {
            if !HAS_ENDED.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(10));
            }
        }
        assert!(HAS_ENDED.load(Ordering::Relaxed));
    }

    #[test]
    fn json_spells_out_what_deceives_the_eye_and_keeps_its_value() {
        let text = "evil\u{202e}cba\u{200b}\u{e0041}";
        let json = spelled_out(&serde_json::to_string(text).unwrap());
        assert_eq!(json, "\"evil\\u202ecba\\u200b\\udb40\\udc41\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
