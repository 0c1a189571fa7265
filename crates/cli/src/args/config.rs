//! Configuration files and variables: other ways to say what an option says.
//!
//! A command that has `--config` takes each of its options from three places: the command line, a
//! variable `AGON_…` of its name, and a key of its name in the file; the first that says something
//! counts. Here the file and the variables become what the options default to, so that the options
//! themselves are the only list of what there is.

use super::ecosystem;
use crate::{
    failure::{HintExt as _, hinted},
    input,
};
use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::{
    any::TypeId,
    ffi::OsString,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// Id of the option that names the file, and its name.
const ID: &str = "service_config";
const CONFIG: &str = "config";
/// Longest configuration file that is read.
const SIZE_BYTES_MAX: u64 = 1 << 20;
/// What variables begin with.
const PREFIX: &str = "AGON_";
/// How alike two names must be for one to be meant by the other.
const ALIKE: f64 = 0.75;

/// What variables say.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The same command, where the one that `words` name defaults to what file and variables say.
pub(super) fn configured(
    command: Command,
    words: &[OsString],
    read: Environment<'_>,
) -> anyhow::Result<Command> {
    let path = path_of(&command, words);
    let leaf = leaf(&command, &path).filter(|leaf| takes_config(leaf));
    let Some(leaf) = leaf else { return Ok(command) };
    let file = named_file(words).or_else(|| read(&variable(CONFIG)).map(PathBuf::from));
    let defaults = defaults(leaf, file.as_deref(), read)?;
    Ok(mutated(command, &path, &defaults))
}

/// What an option defaults to.
struct Preset {
    id: String,
    values: Vec<String>,
}

/// The variable of an option.
pub fn variable(id: &str) -> String {
    format!("{PREFIX}{}", id.to_uppercase())
}

/// Whether a variable of ours says what an option of a command is, unless the command line does.
pub(super) fn decides(leaf: &ArgMatches, id: &str, read: Environment<'_>) -> bool {
    leaf.try_get_one::<PathBuf>(ID).is_ok() && set(id, read).is_some()
}

/// What our variable of an option says.
fn set(id: &str, read: Environment<'_>) -> Option<String> {
    let set = read(&variable(id))?.trim().to_owned();
    (!set.is_empty()).then_some(set)
}

/// Whether an option can be a key of a file.
pub fn is_key(arg: &Arg) -> bool {
    let id = arg.get_id().as_str();
    arg.get_long().is_some() && ![ID, "help", "version", "json", "verbose"].contains(&id)
}

/// The names of the commands that the words lead through.
fn path_of(command: &Command, words: &[OsString]) -> Vec<String> {
    let (mut here, mut path) = (command, Vec::new());
    for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
        if word.starts_with('-') {
            continue;
        }
        let Some(next) = here.find_subcommand(word) else { break };
        path.push(next.get_name().to_owned());
        here = next;
    }
    path
}

fn leaf<'a>(command: &'a Command, path: &[String]) -> Option<&'a Command> {
    path.iter().try_fold(command, |here, name| here.find_subcommand(name))
}

/// Whether a command takes a configuration file: what others call so is something else.
pub fn takes_config(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == ID)
}

/// The file that the words name.
fn named_file(words: &[OsString]) -> Option<PathBuf> {
    let option = format!("--{CONFIG}");
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if *word == *"--" {
            return None;
        }
        if *word == *option {
            return words.next().map(PathBuf::from);
        }
        let value = word.to_str().and_then(|word| word.strip_prefix(&option)?.strip_prefix('='));
        if let Some(value) = value {
            return Some(PathBuf::from(value));
        }
    }
    None
}

/// What the options of a command default to.
fn defaults(
    command: &Command,
    file: Option<&Path>,
    read: Environment<'_>,
) -> anyhow::Result<Vec<Preset>> {
    let mut table = file.map_or_else(|| Ok(Table::new()), table)?;
    let mut presets = Vec::new();
    for arg in command.get_arguments().filter(|arg| is_key(arg)) {
        let id = arg.get_id().as_str();
        // Both spellings are one key: as options are written, and as keys of TOML are.
        let in_file = table.remove(id).or_else(|| table.remove(&id.replace('_', "-")));
        let values = match (set(id, read), in_file, file) {
            (Some(set), ..) => vec![set],
            (None, Some(value), Some(file)) if ecosystem::variable(id, read).is_none() => {
                written(arg, &value, file)?
            }
            _ => continue,
        };
        presets.push(Preset { id: id.to_owned(), values });
    }
    match (table.keys().next(), file) {
        (Some(unknown), Some(file)) => Err(unknown_key(command, unknown, file)),
        _ => Ok(presets),
    }
}

fn table(file: &Path) -> anyhow::Result<Table> {
    // A shell leaves `~` alone after `=`.
    let home = std::env::home_dir();
    let file = match (file.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => file.to_owned(),
    };
    let text = input::read_text(&file, SIZE_BYTES_MAX)
        .hint("--config names a file; `agon network new` writes some to begin with")?;
    text.parse().with_context(|| input::name(&file))
}

fn unknown_key(command: &Command, unknown: &str, file: &Path) -> anyhow::Error {
    let keys = command.get_arguments().filter(|arg| is_key(arg));
    let like = |arg: &Arg| strsim::jaro_winkler(arg.get_id().as_str(), &unknown.replace('-', "_"));
    let nearest = keys.max_by(|a, b| like(a).total_cmp(&like(b))).filter(|arg| like(arg) >= ALIKE);
    let hint = match nearest {
        Some(arg) => format!("did you mean `{}`?", arg.get_id()),
        None => {
            format!("`agon {} --help` lists the options, which are the keys", command.get_name())
        }
    };
    hinted(anyhow::anyhow!("{} has the unknown key `{unknown}`", input::name(file)), hint)
}

/// A value as the option would be given it.
fn written(arg: &Arg, value: &Value, file: &Path) -> anyhow::Result<Vec<String>> {
    let id = arg.get_id();
    let is_list = arg.get_value_delimiter().is_some();
    let one = |value: &Value| {
        Ok(match value {
            Value::String(text) => in_folder_of(arg, text, file),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(says) => says.to_string(),
            _ => anyhow::bail!("{}: `{id}` is no single value", input::name(file)),
        })
    };
    let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
    anyhow::ensure!(!is_flag || value.is_bool(), "{}: `{id}` is true or false", input::name(file));
    match value {
        Value::Array(values) if is_list => values.iter().map(one).collect(),
        Value::Array(_) => anyhow::bail!("{}: `{id}` is one value, no list", input::name(file)),
        value => Ok(vec![one(value)?]),
    }
}

/// A path of a file starts at the folder of the file; whatever else it says stays as it is.
fn in_folder_of(arg: &Arg, text: &str, file: &Path) -> String {
    let is_path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    let is_file = arg.get_id().as_str().starts_with("competition") && text.ends_with(".toml");
    let folder = file.parent().unwrap_or(Path::new(""));
    if (is_path || is_file) && !text.starts_with('~') {
        folder.join(text).display().to_string()
    } else {
        text.to_owned()
    }
}

/// The command with new defaults at the end of a path of names.
fn mutated(command: Command, path: &[String], presets: &[Preset]) -> Command {
    let Some((name, rest)) = path.split_first() else {
        return presets.iter().fold(command, |command, preset| {
            let values = preset.values.clone();
            command.mut_arg(&preset.id, |arg| arg.required(false).default_values(values))
        });
    };
    command.mut_subcommand(name, |command| mutated(command, rest, presets))
}
