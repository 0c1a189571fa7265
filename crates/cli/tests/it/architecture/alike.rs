//! What two validators must come to alike: no clock of a machine, and no function of its library.

use crate::tree;

/// Words that read the wall clock, or compare it with what it left on files.
const TIMES: [&str; 3] = ["SystemTime", "Instant", "elapsed"];

/// Files that may look at the wall clock; everything else counts blocks: those that show people how
/// long something took, the meters of services and the door at which they are read, the node that
/// makes blocks by the clock, the hub whose links expire, the clients whose patience with an
/// endpoint ends, the supervisor that starts processes again, and the files of downloads that broke
/// off, of which the oldest goes first. The dashboard tells about when a block was.
const CLOCKS: [&str; 28] = [
    "crates/cli/src/command/demo.rs",
    "crates/cli/src/command/download.rs",
    "crates/cli/src/command/evaluate.rs",
    "crates/cli/src/command/network/up.rs",
    "crates/cli/src/command/upload.rs",
    "crates/cli/src/command/validator/check.rs",
    "crates/cli/src/command/validator/speed.rs",
    "crates/cli/src/evaluator.rs",
    "crates/cli/src/service/health.rs",
    "crates/cli/src/service/metrics.rs",
    "crates/cli/src/service/serve.rs",
    "crates/cli/src/terminal.rs",
    "crates/dashboard/src/clock.rs",
    "crates/hub/src/deadline.rs",
    "crates/hub/src/intake/incoming.rs",
    "crates/hugging-face/src/client/patience.rs",
    "crates/hugging-face/src/dev/clock.rs",
    "crates/hugging-face/src/dev/objects.rs",
    "crates/hugging-face/src/dev/pace.rs",
    "crates/records/src/folder.rs",
    "crates/substrate/src/client/config.rs",
    "crates/substrate/src/client/door.rs",
    "crates/substrate/src/client/finality.rs",
    "crates/substrate/src/client/heads.rs",
    "crates/substrate/src/client/limiter.rs",
    "crates/substrate/src/client/links.rs",
    "crates/substrate/src/dev/author.rs",
    "crates/substrate/src/dev/callers.rs",
];

/// Crates that decide nothing which two validators must decide alike: they show, train, and mine.
const UNDECISIVE: [&str; 3] = ["cli", "miner", "trainer"];

/// Files of other crates that ask the system for a function of floats: for the perplexity that a
/// perfect model would have, which is shown and never enters a verdict.
const SYSTEM_FUNCTIONS: [&str; 2] =
    ["crates/dataset/src/pack.rs", "crates/dataset/src/source/generated/writer.rs"];

/// Functions of floats whose last bits the system's library chooses. Roots, roundings and fused
/// multiply-adds are exact everywhere.
const INEXACT: [&str; 29] = [
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "erf",
    "exp", "exp2", "exp_m1", "gamma", "hypot", "ln", "ln_1p", "ln_gamma", "log", "log10", "log2",
    "powf", "powi", "sin", "sin_cos", "sinh", "tan", "tanh",
];

/// A function of [`INEXACT`] that `code` calls as a method or names as one of a float's.
fn inexact(code: &str) -> Option<&'static str> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let is_called = |name: &str| {
        code.match_indices(name).any(|(at, _)| {
            let (before, after) = (&code[..at], &code[at + name.len()..]);
            let is_method = before.ends_with('.') && after.starts_with('(');
            let is_named = ["f32::", "f64::"].iter().any(|float| before.ends_with(float));
            is_method || is_named && !after.starts_with(is_part)
        })
    };
    INEXACT.into_iter().find(|name| is_called(name))
}

#[test]
fn time_is_a_block_outside_the_listed_files() {
    let mut seen = Vec::new();
    for file in tree::rust_files() {
        let code = file.product_code();
        let is_named = TIMES.iter().any(|name| tree::has_word(&code, name));
        // Files have times, too, which tell of the clock without naming it.
        if is_named || code.contains(".elapsed()") {
            assert!(
                CLOCKS.contains(&file.path.as_str()),
                "`{}` reads the wall clock: time is a `Block`, or a clock passed as an argument",
                file.path
            );
            seen.push(file.path);
        }
    }
    for clock in CLOCKS {
        assert!(
            seen.iter().any(|path| path == clock),
            "`{clock}` no longer reads the clock: take it off the list `CLOCKS`"
        );
    }
}

#[test]
fn what_decides_computes_functions_itself_and_asks_no_library_of_the_system() {
    let mut seen = Vec::new();
    for file in tree::rust_files().iter().filter(|file| !UNDECISIVE.contains(&file.krate())) {
        let Some(name) = inexact(&file.product_code()) else { continue };
        assert!(
            SYSTEM_FUNCTIONS.contains(&file.path.as_str()),
            "`{}` calls `{name}`, whose last bits differ between systems: two validators may reach \
             two verdicts; use `protocol::math`, `kernel/math.rs` of `engine`, or compare without",
            file.path
        );
        seen.push(file.path.clone());
    }
    assert_eq!(seen, SYSTEM_FUNCTIONS, "take off the list what calls none any more");
    for call in ["x.ln()", "xs.map(f64::log10)", "(a / b).powi(2)"] {
        assert!(inexact(call).is_some(), "{call}");
    }
    for call in ["math::ln(x)", "x.sqrt()", "x.mul_add(y, z)", "f64::exponent()", "a.logs(b)"] {
        assert!(inexact(call).is_none(), "{call}");
    }
}
