//! What Bittensor's own programs call these options, and the variables that they read.
//!
//! Scripts and set-ups of operators hold these names, of both lines of its SDK: `--wallet.name`
//! and `--subtensor.network` of the one, `BT_NETWORK` and `BT_WALLET` of the other. They mean here
//! what they mean there. An option beats a variable, and a variable beats what is usual. Of
//! variables that disagree one may be left over from something else: none of them is taken.

use clap::{ArgAction, ArgMatches, Command, parser::ValueSource};
use std::ffi::{OsStr, OsString};

/// An option: its name here, the names that others have for it, and the variables that stand for
/// it.
struct Known {
    id: &'static str,
    names: &'static [&'static str],
    variables: &'static [&'static str],
}

const OPTIONS: [Known; 5] = [
    Known {
        id: NETWORK,
        names: &["chain", "subtensor.network", "subtensor.chain_endpoint"],
        variables: &["BT_SUBTENSOR_CHAIN_ENDPOINT", "BT_SUBTENSOR_NETWORK", "BT_NETWORK"],
    },
    Known { id: "fallback_endpoints", names: &[], variables: &[] },
    Known {
        id: "wallet",
        names: &["wallet.name", "wallet-name"],
        variables: &["BT_WALLET_NAME", "BT_WALLET"],
    },
    Known {
        id: "hotkey",
        names: &["wallet.hotkey", "wallet-hotkey"],
        variables: &["BT_WALLET_HOTKEY"],
    },
    Known { id: "wallet_path", names: &["wallet.path"], variables: &["BT_WALLET_PATH"] },
];

/// The option whose value says which variable it comes from, if any does: it decides where money
/// goes.
const NETWORK: &str = "network";

impl Known {
    /// The variables that are set, with their values.
    fn set(&self, read: &dyn Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
        let value = |name: &&'static str| Some((*name, read(name)?.trim().to_owned()));
        let set = self.variables.iter().filter_map(value);
        set.filter(|(_, value)| !value.is_empty()).collect()
    }
}

/// Options of the whole program that say more or less, with their variables; each as often as
/// `--verbose` would have to be said.
const LOGGING: [(&str, &str, u8); 3] = [
    ("--logging.info", "BT_LOGGING_INFO", 1),
    ("--logging.debug", "BT_LOGGING_DEBUG", 1),
    ("--logging.trace", "BT_LOGGING_TRACE", 2),
];

/// Options that stand in everybody's scripts and mean nothing here: what they begin with.
const MEANINGLESS: [(&str, &str); 3] = [
    ("--axon.", "nobody serves requests here"),
    ("--dendrite.", "nobody sends requests to miners here"),
    ("--wandb.", "nothing is sent to Weights & Biases"),
];

/// What follows an option.
#[derive(Clone, Copy)]
enum Shape {
    /// Digits, with a point perhaps.
    Number,
    /// The address of a machine.
    Address,
    /// Any name.
    Name,
}

/// Those of them that are followed by a value.
const WITH_VALUES: [(&str, Shape); 9] = [
    ("--axon.port", Shape::Number),
    ("--axon.ip", Shape::Address),
    ("--axon.external_port", Shape::Number),
    ("--axon.external_ip", Shape::Address),
    ("--axon.max_workers", Shape::Number),
    ("--dendrite.timeout", Shape::Number),
    ("--wandb.project", Shape::Name),
    ("--wandb.entity", Shape::Name),
    ("--wandb.project_name", Shape::Name),
];

impl Shape {
    /// Whether a word may be such a value. Where a variable of a script is empty the next word is
    /// not: it may be a weight, `3=0.7`, or another option.
    fn fits(self, word: &str) -> bool {
        let is_all = |fits: fn(char) -> bool| !word.is_empty() && word.chars().all(fits);
        match self {
            Self::Number => is_all(|c| c.is_ascii_digit() || c == '.'),
            Self::Address => {
                is_all(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '[' | ']'))
            }
            Self::Name => !word.starts_with('-') && is_all(|c| c != '='),
        }
    }
}

/// Whether a variable says yes.
fn is_on(value: &str) -> bool {
    !matches!(value.trim(), "" | "0" | "false" | "False" | "no")
}

/// The keys and, in capitals, the ends of our own variables that stand for an option: its name
/// here, then the names that others have for it.
pub(super) fn keys(id: &str) -> Vec<String> {
    let names = OPTIONS.iter().find(|known| known.id == id).map_or(&[][..], |known| known.names);
    let mut keys = vec![id.to_owned()];
    keys.extend(names.iter().map(|name| name.replace(['-', '.'], "_")));
    keys.dedup();
    keys
}

/// What the variables of other programs say of an option.
pub(super) fn variable(id: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let known = OPTIONS.iter().find(|known| known.id == id)?;
    known.set(read).into_iter().next().map(|(_, value)| value)
}

/// The same command, whose options know their other names and take what variables say.
pub(super) fn named(command: Command, read: &dyn Fn(&str) -> Option<String>) -> Command {
    let command = command.mut_args(|arg| {
        let known = OPTIONS.iter().find(|known| arg.get_id().as_str() == known.id);
        let Some(known) = known.filter(|_| !matches!(arg.get_action(), ArgAction::SetTrue)) else {
            return arg;
        };
        let arg = arg.aliases(known.names);
        match known.set(read).into_iter().next() {
            Some((name, value)) if known.id == NETWORK => {
                arg.default_value(format!("{name}={value}"))
            }
            Some((_, value)) => arg.default_value(value),
            None => arg,
        }
    });
    command.mut_subcommands(|command| named(command, read))
}

/// Variables that would decide for an option of a command and disagree, in a sentence that names
/// them; `is_decided` says of which options something else has decided.
pub(super) fn contradiction(
    matches: &ArgMatches,
    read: &dyn Fn(&str) -> Option<String>,
    is_decided: &dyn Fn(&str) -> bool,
) -> Option<String> {
    let is_open = |known: &&Known| {
        let is_there = matches.try_contains_id(known.id).is_ok_and(|is_there| is_there);
        // A flag of the same name is another option.
        let is_flag = matches.try_get_one::<bool>(known.id).is_ok();
        is_there && !is_flag && matches.value_source(known.id) == Some(ValueSource::DefaultValue)
    };
    let mut open = OPTIONS.iter().filter(is_open).filter(|known| !is_decided(known.id));
    open.find_map(|known| {
        let set = known.set(read);
        let (first, value) = set.first()?;
        let (other, another) = set.iter().find(|(_, another)| another != value)?;
        let option = known.id.replace('_', "-");
        Some(format!(
            "{first}=`{value}` and {other}=`{another}` disagree: say which with --{option}, or \
             unset one of them"
        ))
    })
}

/// What was given, in words of this program.
pub(super) struct Given {
    /// The words, for the parser.
    pub(super) words: Vec<OsString>,
    /// Options that are ignored, each with the reason.
    pub(super) ignored: Vec<(String, &'static str)>,
}

/// Puts the words that others know into those of this program.
pub(super) fn translated(
    words: impl IntoIterator<Item = OsString>,
    read: &dyn Fn(&str) -> Option<String>,
) -> Given {
    let mut given = Given { words: Vec::new(), ignored: Vec::new() };
    let mut verbose = 0;
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            given.words.push(word);
            given.words.extend(words);
            break;
        }
        if let Some((.., n)) = LOGGING.iter().find(|(name, ..)| word == **name) {
            verbose = verbose.max(*n);
        } else if let Some((name, reason)) = meaningless(&word) {
            let known = WITH_VALUES.iter().find(|(known, _)| word == **known);
            let value = known.and_then(|(_, shape)| {
                words.next_if(|next| next.to_str().is_some_and(|next| shape.fits(next)))
            });
            let value = value.map(|value| format!(" {}", value.to_string_lossy()));
            given.ignored.push((name + &value.unwrap_or_default(), reason));
        } else {
            given.words.push(word);
        }
    }
    for (_, variable, n) in LOGGING {
        if read(variable).is_some_and(|value| is_on(&value)) {
            verbose = verbose.max(n);
        }
    }
    // Before the command: the option is of the whole program.
    let at = given.words.len().min(1);
    given.words.splice(at..at, (0..verbose).map(|_| OsString::from("--verbose")));
    given
}

/// The name of an option that means nothing here, and why.
fn meaningless(word: &OsStr) -> Option<(String, &'static str)> {
    let word = word.to_str()?;
    let (_, reason) = MEANINGLESS.iter().find(|(begin, _)| word.starts_with(begin))?;
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    Some((name.to_owned(), reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Seed, seed::uniform_below};

    fn words(given: &Given) -> Vec<String> {
        given.words.iter().map(|word| word.to_str().unwrap().to_owned()).collect()
    }

    fn translate(line: &str, variables: &[(&str, &str)]) -> Given {
        let read = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        translated(line.split_whitespace().map(OsString::from), &read)
    }

    #[test]
    fn what_means_nothing_here_is_taken_out_with_its_value_and_told() {
        let line = "agon chain info --axon.port 8091 --wandb.off --axon.ip=1.2.3.4 --json \
                    --axon.off --wandb.project x -- --axon.port 9";
        let given = translate(line, &[]);
        assert_eq!(words(&given), ["agon", "chain", "info", "--json", "--", "--axon.port", "9"]);
        let names: Vec<&str> = given.ignored.iter().map(|(name, _)| name.as_str()).collect();
        let [port, project] = ["--axon.port 8091", "--wandb.project x"];
        assert_eq!(names, [port, "--wandb.off", "--axon.ip", "--axon.off", project]);
        // A variable of a script that is empty.
        for (line, expected) in [
            ("agon --axon.port 3=0.7 4=0.3", &["agon", "3=0.7", "4=0.3"][..]),
            ("agon --wandb.project 3=0.7", &["agon", "3=0.7"]),
            ("agon --axon.ip mine", &["agon", "mine"]),
            ("agon --axon.external_ip ::1 mine", &["agon", "mine"]),
            ("agon --dendrite.timeout 1.5 x", &["agon", "x"]),
        ] {
            assert_eq!(words(&translate(line, &[])), expected, "{line}");
        }
        let given = translate("agon --axon.port --json", &[]);
        assert_eq!(words(&given), ["agon", "--json"], "a value that is missing is no option");
        // Whoever asks for this must not have weights set all the same.
        let given = translate("agon x --neuron.disable_set_weights", &[]);
        assert_eq!((words(&given).len(), given.ignored.len()), (3, 0));
    }

    #[test]
    fn logging_is_said_by_option_or_variable() {
        for (line, variables, expected) in [
            ("agon chain info", &[][..], 0),
            ("agon chain info --logging.debug", &[], 1),
            ("agon --logging.trace chain info --logging.info", &[], 2),
            ("agon chain info", &[("BT_LOGGING_DEBUG", "1")], 1),
            ("agon chain info", &[("BT_LOGGING_TRACE", "true")], 2),
            ("agon chain info", &[("BT_LOGGING_TRACE", "0"), ("BT_LOGGING_INFO", "")], 0),
        ] {
            let given = words(&translate(line, variables));
            let n = given.iter().filter(|word| *word == "--verbose").count();
            assert_eq!((n, given[n + 1].as_str()), (expected, "chain"), "{line}");
        }
    }

    #[test]
    fn no_word_is_lost_that_is_not_told_as_ignored() {
        const WORDS: [&str; 14] = [
            "agon",
            "chain",
            "--json",
            "--axon.port",
            "8091",
            "--wandb.off",
            "--wandb.project",
            "x",
            "--logging.debug",
            "3=0.7",
            "--",
            "--axon.ip=1.2.3.4",
            "--dendrite.timeout",
            "--netuid",
        ];
        for seed in 0..500 {
            let mut random = Seed::of_number(seed).stream();
            let mut below = |bound: usize| uniform_below(&mut random, bound as u64) as usize;
            let n_words = below(12);
            let line: Vec<&str> = (0..n_words).map(|_| WORDS[below(WORDS.len())]).collect();
            let given = translate(&line.join(" "), &[]);
            let mut kept = words(&given);
            kept.retain(|word| word != "--verbose");
            let end = line.iter().position(|word| *word == "--").unwrap_or(line.len());
            let n_logging = line[..end].iter().filter(|word| **word == "--logging.debug").count();
            let n_told: usize = given.ignored.iter().map(|(told, _)| told.split(' ').count()).sum();
            assert_eq!(kept.len() + n_told + n_logging, line.len(), "seed {seed}: {line:?}");
            assert!(kept.iter().map(String::as_str).collect::<Vec<_>>().ends_with(&line[end..]));
            let mut rest = line.iter();
            let is_in_order = kept.iter().all(|word| rest.any(|other| other == word));
            assert!(is_in_order, "seed {seed}: {line:?} became {kept:?}");
        }
    }
}
