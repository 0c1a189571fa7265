//! What `--competition NAME` means: the rules, and where they say so the text and its tokenizer.

use crate::contest::{Contest, TOKENIZER_FILE};
use crate::{data_files, failure::HintExt as _, hub_tokenizer, input, trained};
use anyhow::Context as _;
use dataset::{FilesSource, GeneratedSource, PinnedSource, Source, Tokenizer};
use protocol::{
    Competition, Digest,
    competition::{DatasetRules, TokenizerRules},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Longest competition file that is read: it may pin tens of thousands of files.
pub const SIZE_BYTES_MAX: u64 = 16 << 20;

/// Longest tokenizer that is looked at beside a competition file.
const TOKENIZER_BYTES_MAX: u64 = 64 << 20;

/// The rules called `name`: a competition that comes with the program, or the path of a file.
pub fn rules(name: &str) -> anyhow::Result<Competition> {
    match file(name) {
        Some(path) => {
            let text = input::read_text(&path, SIZE_BYTES_MAX)?;
            let competition = Competition::from_toml(&text).with_context(|| input::name(&path))?;
            check_architectures(&competition).with_context(|| input::name(&path))?;
            Ok(competition)
        }
        None => Competition::builtin(name).hint("the path of a competition file works as well"),
    }
}

/// Refuses rules that nobody could enter with what they name.
pub fn check_architectures(competition: &Competition) -> anyhow::Result<()> {
    let known: Vec<&str> = engine::architectures().collect();
    let mut named = competition.model.architectures.iter();
    match named.find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(anyhow::anyhow!(
            "`model.architectures` names `{name}`, which is none of {}",
            known.join(", ")
        )),
    }
}

/// The text of the file with the rules called `name`, comments included.
pub fn text(name: &str) -> anyhow::Result<String> {
    match file(name) {
        Some(path) => input::read_text(&path, SIZE_BYTES_MAX),
        None => Ok(Competition::builtin_text(name)?.to_owned()),
    }
}

/// The rules called `name` with the text and the tokenizer that they name.
///
/// A tokenizer that is trained for the competition is read from beside the competition file where
/// it lies there and the file pins it, or from the mirror that the environment names, and trained
/// again otherwise; its digest is checked in every case. One of a hub is read from beside the file,
/// or from the hub once. Files of a hub are read from the folder `dir` if one is given.
pub fn contest(name: &str, dir: Option<&Path>) -> anyhow::Result<Contest> {
    let competition = rules(name)?;
    let source = source(name, &competition, dir)?;
    let tokenizer = Arc::new(tokenizer(name, &competition, &*source)?);
    Ok(Contest { competition, source, tokenizer })
}

/// The path that `name` is, if it is one; names that come with the program are none.
pub fn file(name: &str) -> Option<PathBuf> {
    let is_known = Competition::builtin_names().any(|known| known == name);
    let is_path = name.ends_with(".toml") || name.contains(std::path::is_separator);
    (!is_known && (is_path || Path::new(name).is_file())).then(|| PathBuf::from(name))
}

/// A corpus of files; lines and rows without a text are passed over, and that is said.
pub fn corpus(path: &Path) -> anyhow::Result<FilesSource> {
    let corpus = with_own_hint(FilesSource::open(path))?;
    let n = corpus.n_passed_over();
    if n > 0 {
        tracing::warn!(
            "{n} lines or rows of `{}` have no text and are passed over",
            path.display()
        );
    }
    Ok(corpus)
}

/// Where a path leads that the rules called `name` hold: a relative one starts at the folder of
/// their file, wherever the command runs.
pub fn path_in(name: &str, path: &str) -> PathBuf {
    file(name).map_or(PathBuf::from(path), |file| file.with_file_name(path))
}

/// The text that the competition called `name` takes; files of a hub are read from the folder `dir`
/// if one is given.
pub fn source(
    name: &str,
    competition: &Competition,
    dir: Option<&Path>,
) -> anyhow::Result<Arc<dyn Source>> {
    match &competition.dataset {
        DatasetRules::Generated { world } => Ok(Arc::new(GeneratedSource::new(*world))),
        DatasetRules::Files { path, sha256 } => {
            let source = corpus(&path_in(name, path))?;
            expect_digest(path, *sha256, source.digest())?;
            Ok(Arc::new(source))
        }
        DatasetRules::Hub(dataset) => match dataset.pinned() {
            Some(revision) => {
                let files = data_files::open(&dataset.repo, &revision.to_string(), dir)?;
                let source = PinnedSource::new(dataset.clone(), files, data_files::footers());
                Ok(Arc::new(with_own_hint(source)?))
            }
            None => on_a_hub(competition, "text", &dataset.repo),
        },
    }
}

fn tokenizer(
    name: &str,
    competition: &Competition,
    source: &dyn Source,
) -> anyhow::Result<Tokenizer> {
    let beside = file(name).map(|file| file.with_file_name(TOKENIZER_FILE));
    let (vocabulary, pinned) = match &competition.text.tokenizer {
        TokenizerRules::Trained { vocabulary, sha256 } => (*vocabulary, *sha256),
        TokenizerRules::File { path, vocabulary, end_of_text, sha256 } => {
            return from_file(&path_in(name, path), *sha256, *vocabulary, *end_of_text);
        }
        TokenizerRules::Hub { repo, revision, vocabulary, end_of_text, sha256 } => {
            let Some(sha256) = *sha256 else { return on_a_hub(competition, "tokenizer", repo) };
            // One folder may hold competitions with several tokenizers.
            let is_its = |path: &PathBuf| revision.is_none() || has_digest(path, sha256);
            let beside = beside.filter(|path| path.is_file()).filter(is_its);
            return match (beside, revision) {
                (Some(path), _) => from_file(&path, sha256, *vocabulary, *end_of_text),
                (None, Some(revision)) => {
                    let tokenizer = hub_tokenizer::open(repo, revision, sha256, *end_of_text)?;
                    of_size(tokenizer, &format!("{repo}@{revision}"), *vocabulary)
                }
                (None, None) => on_a_hub(competition, "tokenizer", repo),
            };
        }
    };
    if let Some(path) = beside.filter(|path| pinned.is_some() && path.is_file()) {
        return with_own_hint(Tokenizer::load(&path, pinned, None));
    }
    let mirrored = trained::find(source, vocabulary)?;
    let tokenizer = match mirrored {
        Some(tokenizer) => tokenizer,
        None => with_own_hint(Tokenizer::train(source, vocabulary))?,
    };
    let name = format!("the tokenizer of competition {}", competition.name);
    expect_digest(&name, pinned, tokenizer.digest())?;
    Ok(tokenizer)
}

/// Whether a file has this digest; what cannot be read has none.
fn has_digest(path: &Path, sha256: Digest) -> bool {
    input::read(path, TOKENIZER_BYTES_MAX).is_ok_and(|bytes| Digest::of(&bytes) == sha256)
}

/// The pinned tokenizer in a file, with the vocabulary that the competition says.
pub fn from_file(
    path: &Path,
    sha256: Digest,
    vocabulary: usize,
    end_of_text: u32,
) -> anyhow::Result<Tokenizer> {
    let tokenizer = with_own_hint(Tokenizer::load(path, Some(sha256), Some(end_of_text)))?;
    of_size(tokenizer, &path.display().to_string(), vocabulary)
}

/// A tokenizer, if it has as many tokens as the competition says.
pub fn of_size(tokenizer: Tokenizer, name: &str, vocabulary: usize) -> anyhow::Result<Tokenizer> {
    let found = tokenizer.vocabulary();
    if found == vocabulary {
        return Ok(tokenizer);
    }
    Err(anyhow::anyhow!("`{name}` has {found} tokens, the competition says {vocabulary}"))
        .hint("`text.tokenizer.vocabulary` must be what the tokenizer has, or name another one")
}

fn expect_digest(name: &str, pinned: Option<Digest>, found: Digest) -> anyhow::Result<()> {
    match pinned {
        Some(expected) if expected != found => {
            let name = name.to_owned();
            with_own_hint(Err(dataset::Error::DigestMismatch { name, expected, found }))
        }
        _ => Ok(()),
    }
}

/// Errors about text know what helps.
pub fn with_own_hint<T>(result: Result<T, dataset::Error>) -> anyhow::Result<T> {
    result.or_else(|error| match error.hint() {
        Some(hint) => Err(error).hint(hint),
        None => Err(error.into()),
    })
}

fn on_a_hub<T>(competition: &Competition, what: &str, repo: &str) -> anyhow::Result<T> {
    let name = &competition.name;
    let works = "`tiny` works, and so do competition files that pin both: `agon competition pin` \
                 makes one";
    Err(anyhow::anyhow!(
        "competition `{name}` takes its {what} from `{repo}` on a hub and does not pin which \
         files: everybody must get the same"
    ))
    .hint(works)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Hinted;

    #[test]
    fn a_name_is_a_file_where_it_looks_like_one_and_its_paths_start_beside_it() {
        for known in Competition::builtin_names() {
            assert_eq!(file(known), None);
        }
        assert_eq!(file("no-such-name"), None);
        for path in ["x.toml", "a/b", "./tiny", "tiny.toml", "/x/tiny"] {
            assert_eq!(file(path), Some(PathBuf::from(path)));
        }
        for (name, path, expected) in [
            ("dir/mine.toml", "t.json", "dir/t.json"),
            ("mine.toml", "t.json", "t.json"),
            ("mine.toml", "../t.json", "../t.json"),
            ("dir/mine.toml", "/x/t.json", "/x/t.json"),
            ("tiny", "t.json", "t.json"),
        ] {
            assert_eq!(path_in(name, path), Path::new(expected), "{name} {path}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_competition_file_is_told_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let name = path.to_str().unwrap();
        let tiny = Competition::builtin("tiny").unwrap();
        let text = toml::to_string(&tiny).unwrap();
        // As some editors begin a file.
        std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
        assert_eq!(rules(name).unwrap(), tiny);
        let mut unknown = tiny;
        unknown.model.architectures.push("gpt_of_tomorrow".to_owned());
        for (bytes, part) in [
            (Vec::new(), "missing field"),
            (text.as_bytes()[..text.len() / 2].to_vec(), ""),
            (text.replace("reward_share", "reward_shares").into_bytes(), "reward_shares"),
            (text.replace("id = 100", "id = 65536").into_bytes(), "65536"),
            (
                toml::to_string(&unknown).unwrap().into_bytes(),
                "`gpt_of_tomorrow`, which is none of",
            ),
            (b"name = \"\xff\"".to_vec(), "not UTF-8 text: the byte at offset 8"),
            (vec![b'#'; SIZE_BYTES_MAX as usize + 1], "has more than"),
        ] {
            std::fs::write(&path, &bytes).unwrap();
            let error = format!("{:#}", rules(name).unwrap_err());
            assert!(error.contains("mine.toml") && error.contains(part), "no `{part}` in {error}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = format!("{:#}", rules(name).unwrap_err());
        assert!(error.contains("cannot read") && error.contains("mine.toml"), "{error}");
        let error = rules("tinny").unwrap_err();
        assert!(error.to_string().contains("tinny"), "{error}");
        assert!(
            format!("{:?}", error.downcast_ref::<Hinted>()).contains("path of a competition file")
        );
    }

    #[test]
    fn attack_another_text_or_tokenizer_than_the_pinned_one_is_refused_by_its_name() {
        let [one, other] = ["one", "other"].map(|text| Digest::of(text.as_bytes()));
        expect_digest("texts", None, other).unwrap();
        expect_digest("texts", Some(other), other).unwrap();
        let error = expect_digest("texts", Some(one), other).unwrap_err();
        let told = error.to_string();
        for part in ["`texts`".to_owned(), one.to_string(), other.to_string()] {
            assert!(told.contains(&part), "no {part} in {told}");
        }
        assert!(error.downcast_ref::<Hinted>().is_some(), "it says what helps");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        assert!(!has_digest(&path, one), "it is not there");
        std::fs::write(&path, "one").unwrap();
        assert!(has_digest(&path, one) && !has_digest(&path, other));
        assert!(from_file(&path, other, 512, 511).is_err());
        let unpinned = Competition::builtin("7b").unwrap();
        let error = source("7b", &unpinned, None).err().unwrap();
        assert!(error.to_string().contains("`7b` takes its text from"), "{error}");
    }
}
