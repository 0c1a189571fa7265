//! Configuration files and variables: other ways to say what an option says.
//!
//! A command that has `--config` takes each of its options from three places: the command line, a
//! variable `AGON_…` of its name, and a key of its name in the file; the first that says something
//! counts. Here the file and the variables become what the options default to, so that the options
//! themselves are the only list of what there is. Where Bittensor's programs have another name for
//! an option, that is a name of its key and its variable as well.

use super::{ecosystem, in_home};
use crate::{
    failure::{HintExt as _, hinted},
    input,
};
use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::{
    any::TypeId,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
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
/// Variables that begin so and stand for no option.
const OTHER_VARIABLES: [&str; 5] =
    ["AGON_HUB_TOKEN", "AGON_LOG", "AGON_MIRROR", "AGON_SUPERVISED", "AGON_WALLET_PASSWORD"];
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
    let of_variable = || read(&variable(CONFIG)).filter(|file| !file.trim().is_empty());
    let file = named_file(words).or_else(|| of_variable().map(PathBuf::from));
    // A shell leaves `~` alone after `=`. What the file names starts at its folder.
    let file = file.map(in_home);
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
    leaf.try_get_one::<PathBuf>(ID).is_ok() && !all_set(id, read).is_empty()
}

/// What our variables of an option say, each with its name.
fn all_set(id: &str, read: Environment<'_>) -> Vec<(String, String)> {
    let value = |key: String| {
        let name = variable(&key);
        let value = read(&name)?.trim().to_owned();
        (!value.is_empty()).then_some((name, value))
    };
    ecosystem::keys(id).into_iter().filter_map(value).collect()
}

/// Variables of ours that stand for nothing, of those with these names: for a command without a
/// configuration file none, since it reads none of them.
pub(super) fn unknown_variables(
    command: &Command,
    words: &[OsString],
    names: impl IntoIterator<Item = String>,
) -> Vec<String> {
    if !leaf(command, &path_of(command, words)).is_some_and(takes_config) {
        return Vec::new();
    }
    let mut known = Vec::from(OTHER_VARIABLES.map(str::to_owned));
    known.push(variable(CONFIG));
    learn_variables(command, &mut known);
    let mut unknown: Vec<String> = names
        .into_iter()
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .collect();
    unknown.sort();
    unknown
}

/// Learns the variables of all commands with a configuration file: one environment may serve
/// several of them.
fn learn_variables(command: &Command, known: &mut Vec<String>) {
    if takes_config(command) {
        let keys = command.get_arguments().filter(|arg| is_key(arg));
        let keys = keys.flat_map(|arg| ecosystem::keys(arg.get_id().as_str()));
        known.extend(keys.map(|key| variable(&key)));
    }
    for inner in command.get_subcommands() {
        learn_variables(inner, known);
    }
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
        // The name of a file need not be UTF-8.
        let rest = word.as_bytes().strip_prefix(option.as_bytes());
        if let Some(value) = rest.and_then(|rest| rest.strip_prefix(b"=")) {
            return Some(PathBuf::from(OsStr::from_bytes(value)));
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
        let in_file = file.map_or(Ok(None), |file| taken(&mut table, id, file))?;
        let values = match (one_set(id, read)?, in_file, file) {
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

/// What our variables of an option say, if they do not disagree: one may be left over from
/// something else.
fn one_set(id: &str, read: Environment<'_>) -> anyhow::Result<Option<String>> {
    let set = all_set(id, read);
    let Some((name, value)) = set.first() else { return Ok(None) };
    if let Some((other, another)) = set.iter().find(|(_, another)| another != value) {
        return Err(hinted(
            anyhow::anyhow!("{name}=`{value}` and {other}=`{another}` disagree"),
            "unset one of them: they are names of one option",
        ));
    }
    Ok(Some(value.clone()))
}

/// Takes what a file says of an option out of its table, by whichever of its names: as options are
/// written, as keys of TOML are, and as other programs call it.
fn taken(table: &mut Table, id: &str, file: &Path) -> anyhow::Result<Option<Value>> {
    let mut found: Option<(String, Value)> = None;
    for key in ecosystem::keys(id) {
        let dashed = key.replace('_', "-");
        let spellings = if dashed == key { vec![key] } else { vec![key, dashed] };
        for spelling in spellings {
            let Some(value) = table.remove(&spelling) else { continue };
            if let Some((other, _)) = &found {
                anyhow::bail!(
                    "{}: `{other}` and `{spelling}` are names of one key",
                    input::name(file)
                );
            }
            found = Some((spelling, value));
        }
    }
    Ok(found.map(|(_, value)| value))
}

fn table(file: &Path) -> anyhow::Result<Table> {
    let text = input::read_text(file, SIZE_BYTES_MAX)
        .hint("--config names a file; `agon network new` writes some to begin with")?;
    text.parse().with_context(|| input::name(file))
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
    match (value, arg.get_value_delimiter()) {
        (Value::Array(values), Some(_)) => values.iter().map(one).collect(),
        (Value::Array(_), None) => {
            anyhow::bail!("{}: `{id}` is one value, no list", input::name(file))
        }
        // As on the command line; here each of them starts at the folder of the file.
        (Value::String(text), Some(delimiter)) => {
            let parts = text.split(delimiter).map(str::trim);
            Ok(parts.map(|part| in_folder_of(arg, part, file)).collect())
        }
        (value, _) => Ok(vec![one(value)?]),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Arguments;
    use clap::FromArgMatches as _;

    /// A file of the repository.
    fn of_repository(path: &str) -> PathBuf {
        Path::new("../..").join(path)
    }

    /// What the words, with these variables, tell the program.
    fn parsed(words: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<Arguments> {
        let read = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let command = configured(crate::args::command(&read), &words, &read)?;
        Ok(Arguments::from_arg_matches(&command.try_get_matches_from(&words)?)?)
    }

    /// The hotkey that a miner takes by this file and these variables.
    fn hotkey(text: &str, variables: &[(&str, &str)]) -> anyhow::Result<String> {
        use crate::args::{Command, MinerArgs, MinerCommand};
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("miner.toml");
        std::fs::write(&path, format!("{text}\nnetuid = 1\ncompetition = \"tiny\"\n"))?;
        let path = path.display().to_string();
        let words = ["agon", "miner", "run", "--repo", "a/b", "--home", "h", "--config", &path];
        match parsed(&words, variables)?.command {
            Command::Miner(MinerArgs { command: MinerCommand::Run(run) }) => {
                Ok(run.service.wallet.hotkey)
            }
            _ => anyhow::bail!("another command"),
        }
    }

    #[test]
    fn the_units_start_with_the_configurations_that_are_shipped() {
        for service in ["validator", "miner"] {
            let unit = of_repository(&format!("deploy/systemd/agon-{service}@.service"));
            let unit = std::fs::read_to_string(unit).unwrap();
            let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
            let file = of_repository(&format!("deploy/{service}.toml")).display().to_string();
            let installed = format!("/etc/agon/{service}-%i.toml");
            let words: Vec<&str> = start.split(' ').collect();
            assert!(words.contains(&installed.as_str()), "{start}");
            let words: Vec<&str> = words
                .into_iter()
                .map(|word| if word == installed { file.as_str() } else { word })
                .collect();
            parsed(&words, &[]).unwrap_or_else(|error| panic!("deploy/{service}.toml: {error:#}"));
        }
    }

    #[test]
    fn a_key_and_a_variable_may_have_the_name_that_other_programs_use() {
        for text in ["hotkey", "wallet_hotkey", "wallet-hotkey"] {
            assert_eq!(hotkey(&format!("{text} = \"two\""), &[]).unwrap(), "two", "{text}");
        }
        for name in ["AGON_HOTKEY", "AGON_WALLET_HOTKEY"] {
            assert_eq!(hotkey("hotkey = \"two\"", &[(name, "one")]).unwrap(), "one", "{name}");
        }
        let error = hotkey("hotkey = \"a\"\nwallet_hotkey = \"a\"", &[]).unwrap_err().to_string();
        assert!(error.contains("`hotkey` and `wallet_hotkey`"), "{error}");
        let both = [("AGON_HOTKEY", "a"), ("AGON_WALLET_HOTKEY", "b")];
        let error = hotkey("", &both).unwrap_err().to_string();
        assert!(error.contains("AGON_WALLET_HOTKEY=`b` disagree"), "{error}");
        assert!(hotkey("wallet_hotky = \"a\"", &[]).unwrap_err().to_string().contains("unknown"));
    }

    #[test]
    fn a_variable_that_stands_for_nothing_is_found_where_variables_are_read() {
        let names = ["AGON_HOTKEY", "AGON_WALET", "AGON_STEPS", "AGON_LOG", "AGON_CONFIG", "HOME"];
        let unknown = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let command = crate::args::command(&|_| None);
            unknown_variables(&command, &words, names.map(str::to_owned))
        };
        assert_eq!(unknown(&["agon", "validator", "run"]), ["AGON_WALET"]);
        assert!(unknown(&["agon", "wallet", "list"]).is_empty());
    }

    /// What `agon validator run` is told by these words and variables.
    fn validator(
        words: &[&str],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<crate::args::RunValidatorArgs> {
        use crate::args::{Command, ValidatorArgs, ValidatorCommand};
        let usual = ["agon", "validator", "run", "--home", "h", "--netuid", "1"];
        match parsed(&[&usual[..], words].concat(), variables)?.command {
            Command::Validator(ValidatorArgs { command: ValidatorCommand::Run(run) }) => Ok(run),
            _ => anyhow::bail!("another command"),
        }
    }

    #[test]
    fn competition_files_of_a_list_all_start_at_the_folder_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("validator.toml");
        let config = format!("--config={}", path.display());
        let here = |name: &str| folder.path().join(name).display().to_string();
        let expected = [here("a.toml"), here("sub/b.toml"), "tiny".to_owned()];
        for text in [
            "competitions = [\"a.toml\", \"sub/b.toml\", \"tiny\"]",
            "competitions = \"a.toml,sub/b.toml,tiny\"",
            "competitions = \" a.toml , sub/b.toml , tiny \"",
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(validator(&[&config], &[]).unwrap().competitions, expected, "{text}");
        }
        // What a variable or an option names starts where the command runs.
        let variables = [("AGON_COMPETITIONS", "b.toml,c.toml")];
        let run = validator(&[&config], &variables).unwrap();
        assert_eq!(run.competitions, ["b.toml", "c.toml"]);
        let run = validator(&[&config, "--competitions", "d.toml"], &variables).unwrap();
        assert_eq!(run.competitions, ["d.toml"]);
    }

    #[test]
    fn what_a_file_names_is_found_where_the_file_is_named_from_the_home_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("validator.toml");
        std::fs::write(&path, "competitions = [\"a.toml\"]\ndata = \"texts\"").unwrap();
        std::fs::write(folder.path().join("a.toml"), "").unwrap();
        std::fs::create_dir(folder.path().join("texts")).unwrap();
        // Above the root there is the root.
        let named = format!("~{}{}", "/..".repeat(64), path.display());
        let option = format!("--config={named}");
        for (words, variables) in
            [(vec![option.as_str()], vec![]), (vec![], vec![("AGON_CONFIG", named.as_str())])]
        {
            let run = validator(&words, &variables).unwrap();
            let real = |path: &Path| path.canonicalize().unwrap();
            assert_eq!(real(Path::new(&run.competitions[0])), real(&folder.path().join("a.toml")));
            assert_eq!(real(&run.service.data.unwrap()), real(&folder.path().join("texts")));
        }
    }

    #[test]
    fn a_file_whose_name_is_no_utf_8_is_read_and_a_blank_variable_names_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(OsStr::from_bytes(b"validator-\xff.toml"));
        std::fs::write(&path, "competitions = \"tiny\"\nnetuid = 7").unwrap();
        let mut option = OsString::from("--config=");
        option.push(&path);
        let mut words = ["agon", "validator", "run", "--home", "h"].map(OsString::from).to_vec();
        words.push(option);
        let command = configured(crate::args::command(&|_| None), &words, &|_| None).unwrap();
        let matches = command.try_get_matches_from(&words).unwrap();
        let arguments = format!("{:?}", Arguments::from_arg_matches(&matches).unwrap());
        assert!(arguments.contains("netuid: 7"), "{arguments}");
        let run = validator(&["--competitions", "tiny"], &[("AGON_CONFIG", " ")]).unwrap();
        assert_eq!(run.competitions, ["tiny"]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_name_and_what_was_meant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("validator.toml");
        let config = format!("--config={}", path.display());
        for (text, told, hint) in [
            ("netuid = [1]", "one value, no list", ""),
            ("take_over = \"yes\"", "`take_over` is true or false", ""),
            ("home = { a = 1 }", "`home` is no single value", ""),
            ("netuid = 1\nnetuid = 2", "duplicate key", ""),
            ("netuid = ", "validator.toml", ""),
            ("netud = 1", "unknown key `netud`", "did you mean `netuid`?"),
            ("record-repo = \"a/b\"", "unknown key `record-repo`", "did you mean `records_repo`?"),
            ("qq = 1", "unknown key `qq`", "--help` lists the options"),
            ("json = true", "unknown key `json`", ""),
            ("config = \"other.toml\"", "unknown key `config`", ""),
            ("competitions = [[\"a\"]]", "`competitions` is no single value", ""),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = validator(&[&config, "--competitions", "tiny"], &[]).unwrap_err();
            let words = format!("{error:#}");
            assert!(words.contains("validator.toml") && words.contains(told), "{text}: {words}");
            let hinted = error.downcast_ref::<crate::failure::Hinted>();
            assert!(hint.is_empty() || format!("{hinted:?}").contains(hint), "{text}: {hinted:?}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = validator(&[&config], &[]).unwrap_err();
        assert!(format!("{error:#}").contains("validator.toml"), "{error:#}");
    }
}
