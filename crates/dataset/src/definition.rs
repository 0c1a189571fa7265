//! Ready-made definitions of the datasets that competitions use: where the text is, and under
//! which terms.

use crate::Error;
use serde::{Deserialize, Serialize};

/// The files of `competitions/sources`.
const BUILTIN: [&str; 5] = [
    include_str!("../../../competitions/sources/fineweb.toml"),
    include_str!("../../../competitions/sources/fineweb-edu.toml"),
    include_str!("../../../competitions/sources/fineweb-edu-score-2.toml"),
    include_str!("../../../competitions/sources/falcon-refinedweb.toml"),
    include_str!("../../../competitions/sources/wikitext-103.toml"),
];

/// Where a dataset is on a hub, before anything of it is pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name here, such as `fineweb`.
    pub name: String,
    /// What it is, in one line.
    pub about: String,
    /// Repo on the hub.
    pub repo: String,
    /// Column that holds the text.
    pub text_column: String,
    /// Under which terms it may be used.
    pub licence: String,
    /// A revision that is known to work, where one is known.
    pub revision: Option<String>,
    /// Its parts.
    pub configs: Vec<DefinedConfig>,
}

/// A part of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefinedConfig {
    /// Its name, such as `sample-10BT`.
    pub name: String,
    /// Its files: a path in which one `*` may stand for letters other than `/`.
    pub files: String,
}

impl Definition {
    /// The definition of this name that comes with the program.
    pub fn builtin(name: &str) -> Result<Self, Error> {
        let all = Self::all()?;
        let known: Vec<String> = all.iter().map(|definition| definition.name.clone()).collect();
        let found = all.into_iter().find(|definition| definition.name == name);
        found.ok_or_else(|| {
            let name = name.chars().take(40).collect();
            Error::NoDefinition { name, known: known.join(", ") }
        })
    }

    /// All definitions that come with the program.
    pub fn all() -> Result<Vec<Self>, Error> {
        BUILTIN.iter().map(|text| Self::from_toml(text)).collect()
    }

    fn from_toml(text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| {
            let detail = error.message().replace('\n', " ");
            Error::NotDrawable { repo: "a definition".to_owned(), detail }
        })
    }
}

impl DefinedConfig {
    /// Whether a path of the repo is one of the files.
    pub fn has(&self, path: &str) -> bool {
        let Some((before, after)) = self.files.split_once('*') else { return path == self.files };
        let middle = path.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        middle.is_some_and(|middle| !middle.contains('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_made_definitions_are_five_and_whole() {
        let all = Definition::all().unwrap();
        let names: Vec<&str> = all.iter().map(|definition| definition.name.as_str()).collect();
        assert_eq!(
            names,
            ["fineweb", "fineweb-edu", "fineweb-edu-score-2", "falcon-refinedweb", "wikitext-103"]
        );
        for definition in &all {
            assert_eq!(Definition::builtin(&definition.name).unwrap(), *definition);
            assert!(definition.repo.parse::<protocol::Repo>().is_ok());
            let revision = definition.revision.as_ref();
            assert!(revision.is_none_or(|text| text.parse::<protocol::Revision>().is_ok()));
            assert!(!definition.configs.is_empty() && !definition.licence.is_empty());
            assert!(crate::table::TEXT_COLUMNS.contains(&definition.text_column.as_str()));
        }
        let error = Definition::builtin("pile").unwrap_err().to_string();
        assert!(error.contains("`pile`") && error.contains("wikitext-103"), "{error}");
    }

    #[test]
    fn a_star_stands_for_letters_within_one_folder() {
        let config = |files: &str| DefinedConfig { name: "a".to_owned(), files: files.to_owned() };
        assert!(config("sample/10BT/*.parquet").has("sample/10BT/000_00000.parquet"));
        assert!(!config("sample/10BT/*.parquet").has("sample/10BT/a/b.parquet"));
        assert!(!config("sample/10BT/*.parquet").has("sample/100BT/000.parquet"));
        assert!(!config("ab*ba").has("aba"));
        assert!(config("a.parquet").has("a.parquet") && !config("a.parquet").has("b.parquet"));
    }
}
