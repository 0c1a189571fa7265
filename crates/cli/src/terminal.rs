//! What goes to the terminal besides data: log lines on stderr, and the end on Ctrl-C.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal as _,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tracing_subscriber::EnvFilter;

/// Sends log lines to stderr: warnings, or more with `--verbose` or `AGON_LOG`.
pub fn log_to_stderr(verbose: u8) {
    let level = ["warn", "info", "debug"][usize::from(verbose.min(2))];
    let filter = EnvFilter::try_from_env("AGON_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).compact().init();
}

/// A flag that Ctrl-C or a termination signal raises; a second signal ends the process at once.
pub fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;
    Ok(stop)
}

/// The most memory this process has held at once, in bytes; `None` where the system does not tell.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Prints data on stdout; the reader going away is an error that [`crate::failure`] knows.
pub fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints one JSON document on stdout.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Prints one JSON document on a line of its own, for whoever reads along.
pub fn print_json_line(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string(value)? + "\n"))
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
