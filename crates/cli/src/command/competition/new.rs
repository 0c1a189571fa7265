//! `agon competition new`: a competition file of one's own, by questions or by options.

use crate::{
    args::{NewCompetitionArgs, Parameters},
    competition_file,
    failure::HintExt as _,
    input,
    terminal::print,
};
use anyhow::Context as _;
use dataset::Source as _;
use protocol::{Competition, Digest, Repo};
use std::{
    fmt::Display,
    fs,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    str::FromStr,
};
use toml::Value;

/// Batches of a round.
const N_BATCHES: usize = 24;
/// Tokens of a round, in multiples of the vocabulary: the loss of guessing is off by little.
const TOKENS_PER_WORD: usize = 20;
/// Fewest sequences of a round.
const N_SEQUENCES_MIN: usize = 96;
/// Numbers below are those of the competitions that come with the program.
const ID_MIN: u16 = 1_000;

/// Writes the file.
pub fn run(args: &NewCompetitionArgs) -> anyhow::Result<()> {
    if args.file.exists() && !args.force {
        return Err(anyhow::anyhow!("{} is there already", input::name(&args.file)))
            .hint("--force replaces it");
    }
    let text = text(args)?;
    let rules = Competition::from_toml(&text).context("these values make no competition")?;
    competition_file::check_architectures(&rules)?;
    disk::write(&args.file, text.as_bytes())
        .with_context(|| format!("cannot write {}", input::name(&args.file)))?;
    let file = args.file.display();
    let pin = match text.contains("kind = \"hub\"") {
        true => format!("  agon competition pin {file}        everybody must draw the same text\n"),
        false => String::new(),
    };
    print(&format!("wrote {file}\n\nTry next\n{pin}  agon competition check {file}\n"))
}

/// The file.
fn text(args: &NewCompetitionArgs) -> anyhow::Result<String> {
    let name = chosen(args.name.clone(), "name, of a-z, 0-9 and `-`", None)?;
    let question = "text: a file or folder of yours, or OWNER/NAME of a dataset on a hub";
    let dataset = dataset(&chosen(args.text.clone(), question, None)?, &args.file)?;
    let usual = Some(Parameters(100_000_000));
    let Parameters(max) = chosen(args.parameters_max, "most parameters", usual)?;
    let usual = Some(Parameters((max / 10).max(1)));
    let Parameters(min) = chosen(args.parameters_min, "fewest parameters", usual)?;
    let given = Some(args.architectures.join(",")).filter(|names| !names.is_empty());
    let names = chosen(given, "architectures, with commas between them", Some("llama".into()))?;
    let names = names.split(',').map(|name| quoted(name.trim()));
    let architectures = names.collect::<Vec<_>>().join(", ");
    let vocabulary = chosen(args.vocabulary, "tokens of the vocabulary", Some(8_192))?;
    let length = chosen(args.sequence_length, "tokens of a sequence", Some(512))?;
    let every = chosen(args.blocks_per_round, "blocks between two rounds", Some(150))?;
    let n_predicted = length.saturating_sub(1).max(1);
    let n_sequences = vocabulary.saturating_mul(TOKENS_PER_WORD).div_ceil(n_predicted);
    let per_batch = n_sequences.max(N_SEQUENCES_MIN).div_ceil(N_BATCHES);
    // Numbers of four bytes, and as much again for names and headers as small models need.
    let size_bytes = max.saturating_mul(4).saturating_add(16 << 20);
    let head = head(args, &name);
    Ok(format!(
        "{head}
# What a model may be.
[model]
n_parameters_min = {min}
n_parameters_max = {max}
# All files of its repo together.
size_bytes_max = {size_bytes}
# `model_type` of its config.
architectures = [{architectures}]

# How text becomes tokens.
[text]
sequence_length = {length}
tokenizer = {{ kind = \"trained\", vocabulary = {vocabulary} }}

# Where fresh text comes from.
{dataset}
[evaluation]
# Each block divisible by it seeds a round.
blocks_per_round = {every}
# Blocks that a commitment must be older than the seed: nobody trains on the text of a round.
commitment_age_min = 20
n_batches = {N_BATCHES}
sequences_per_batch = {per_batch}
# Models that are measured again in the next round, besides new ones.
n_models_kept = 5
{SCORING}"
    ))
}

/// How the file ends.
const SCORING: &str = "
# The champion takes all. Whoever comes later must be better by epsilon.
[scoring]
rule = \"succession\"
loss = \"perplexity\"
epsilon = { kind = \"fixed\", value = 0.005 }
temperature = 0.01
alpha = 0.5
";

/// How it begins.
fn head(args: &NewCompetitionArgs, name: &str) -> String {
    let (id, name) = (args.id.unwrap_or_else(|| number(name)), quoted(name));
    let (from_block, share) = (args.from_block, args.reward_share);
    format!(
        "# Written by `agon competition new`; `agon competition check` says whether it can be run.
name = {name}
# Number in commitments, unique on the subnet.
id = {id}
# First block at which these rules hold; several files of one name are versions of one competition.
from_block = {from_block}
# Share of the subnet's weight, relative to that of other competitions.
reward_share = {share:?}
"
    )
}

/// The section about the dataset.
fn dataset(text: &str, file: &Path) -> anyhow::Result<String> {
    let path = Path::new(text);
    if path.exists() {
        let sha256 = competition_file::corpus(path)?.digest();
        let path = quoted(&beside(path, file)?);
        return Ok(format!(
            "[dataset]\nkind = \"files\"\n# A relative path starts at the folder of this file.\n\
             path = {path}\nsha256 = \"{sha256}\"\n"
        ));
    }
    let repo: Result<Repo, _> = text.parse();
    let Ok(repo) = repo else {
        return Err(anyhow::anyhow!("`{text}` is neither here nor a repo `owner/name`"))
            .hint("--text names a file, a folder, or a dataset of a hub");
    };
    Ok(format!(
        "[dataset]\nkind = \"hub\"\nrepo = {}\ntext_column = \"text\"\n",
        quoted(repo.as_str())
    ))
}

/// A path as the competition file names it: from its own folder where that holds it.
fn beside(path: &Path, file: &Path) -> anyhow::Result<String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")));
    let folder = folder.with_context(|| format!("the folder of {}", input::name(file)))?;
    let path = fs::canonicalize(path).with_context(|| input::name(path))?;
    let path = path.strip_prefix(&folder).unwrap_or(&path);
    Ok(path.to_str().context("the path of the text is not UTF-8")?.to_owned())
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// A number that follows from a name.
fn number(name: &str) -> u16 {
    let [first, second, ..] = Digest::of(name.as_bytes()).0;
    ID_MIN + u16::from_le_bytes([first, second]) % (u16::MAX - ID_MIN)
}

/// What an option says, or else a person, or else what is usual.
fn chosen<T: FromStr<Err: Display> + Display>(
    given: Option<T>,
    question: &str,
    usual: Option<T>,
) -> anyhow::Result<T> {
    if let Some(given) = given {
        return Ok(given);
    }
    if !io::stdin().is_terminal() {
        return usual
            .with_context(|| format!("{question}: there is nobody to ask"))
            .hint("`agon competition new --help` lists the options that answer");
    }
    loop {
        match &usual {
            Some(usual) => eprint!("{question} [{usual}]: "),
            None => eprint!("{question}: "),
        }
        io::stderr().flush()?;
        let mut line = String::new();
        let n_bytes = io::stdin().lock().read_line(&mut line)?;
        anyhow::ensure!(n_bytes > 0, "nothing was written");
        match (line.trim(), &usual) {
            ("", Some(_)) => break,
            ("", None) => {}
            (answer, _) => match answer.parse() {
                Ok(answer) => return Ok(answer),
                Err(error) => eprintln!("{error}"),
            },
        }
    }
    usual.context("there is no usual answer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::competition::DatasetRules;

    fn args(file: &Path, text: &str) -> NewCompetitionArgs {
        NewCompetitionArgs {
            file: file.to_owned(),
            name: Some("mine".to_owned()),
            id: None,
            text: Some(text.to_owned()),
            parameters_max: Some(Parameters(1_000_000)),
            parameters_min: Some(Parameters(1_000)),
            architectures: vec!["llama".to_owned(), "gpt2".to_owned()],
            vocabulary: Some(300),
            sequence_length: Some(64),
            blocks_per_round: Some(10),
            from_block: 7,
            reward_share: 0.5,
            force: false,
        }
    }

    #[test]
    fn a_new_file_is_a_competition_on_ones_own_text() {
        let dir = tempfile::tempdir().unwrap();
        let (file, book) = (dir.path().join("mine.toml"), dir.path().join("a \"book\".txt"));
        let page = |number| format!("Page {number}. {}\n\n", "Once upon a time. ".repeat(40));
        fs::write(&book, (0..100).map(page).collect::<String>()).unwrap();
        run(&args(&file, book.to_str().unwrap())).unwrap();
        let rules = competition_file::rules(file.to_str().unwrap()).unwrap();
        assert_eq!((rules.name.as_str(), rules.from_block, rules.reward_share), ("mine", 7, 0.5));
        assert_eq!(rules.model.architectures, ["llama", "gpt2"]);
        assert!(rules.id.0 >= ID_MIN);
        let DatasetRules::Files { path, sha256 } = &rules.dataset else { panic!("{rules:?}") };
        assert_eq!(path, "a \"book\".txt");
        assert!(sha256.is_some());
        competition_file::source(file.to_str().unwrap(), &rules, None).unwrap();
        let n_tokens = rules.evaluation.n_batches * rules.evaluation.sequences_per_batch * 63;
        assert!(n_tokens >= 300 * TOKENS_PER_WORD);
        let again = run(&args(&file, book.to_str().unwrap())).unwrap_err().to_string();
        assert!(again.contains("is there already"), "{again}");

        let other = dir.path().join("other.toml");
        run(&args(&other, "acme/texts")).unwrap();
        let rules = competition_file::rules(other.to_str().unwrap()).unwrap();
        assert_eq!(crate::rules_text::unpinned(&rules), Some("text not pinned"));
        assert!(run(&args(&dir.path().join("x.toml"), "no such text")).is_err());
    }

    #[test]
    fn values_that_make_no_competition_write_nothing_and_say_which_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mine.toml");
        let usual = || args(&file, "acme/texts");
        let named = |name: &str| NewCompetitionArgs { name: Some(name.to_owned()), ..usual() };
        let shared = |reward_share| NewCompetitionArgs { reward_share, ..usual() };
        let built =
            |name: &str| NewCompetitionArgs { architectures: vec![name.to_owned()], ..usual() };
        let sized = |min, max| NewCompetitionArgs {
            parameters_min: Some(Parameters(min)),
            parameters_max: Some(Parameters(max)),
            ..usual()
        };
        for (args, part) in [
            (named("Mine"), "name"),
            (named(""), "name"),
            (named("a\"\nid = 3\nx = \""), "name"),
            (named("../mine"), "name"),
            (shared(f64::NAN), "no competition"),
            (shared(f64::INFINITY), "reward_share"),
            (shared(-0.5), "reward_share"),
            (built("lama"), "`lama`, which is none of"),
            (built("llama\"]\n[x"), "architectures"),
            (sized(1_001, 1_000), "n_parameters"),
            (sized(0, 0), "n_parameters"),
            (NewCompetitionArgs { sequence_length: Some(0), ..usual() }, "sequence_length"),
            (NewCompetitionArgs { vocabulary: Some(0), ..usual() }, "vocabulary"),
            (NewCompetitionArgs { vocabulary: Some(usize::MAX), ..usual() }, "no competition"),
            (NewCompetitionArgs { blocks_per_round: Some(0), ..usual() }, "blocks_per_round"),
            (NewCompetitionArgs { text: Some("../texts".to_owned()), ..usual() }, "`../texts`"),
        ] {
            let error = format!("{:#}", run(&args).unwrap_err());
            assert!(error.contains(part), "no `{part}` in {error}");
            assert!(!file.exists(), "{error}");
        }
        run(&usual()).unwrap();
        let before = fs::read(&file).unwrap();
        let forced = NewCompetitionArgs { force: true, ..shared(-1.0) };
        run(&forced).unwrap_err();
        assert_eq!(fs::read(&file).unwrap(), before, "what was there stays");
    }
}
