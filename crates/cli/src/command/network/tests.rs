//! A folder of a network as it is written: whole, closed, explained, and read by its readers.

use super::{
    create::{self, OWNER, Person},
    file::{FILE, Network},
    text::{self, Rival, Site},
};
use crate::{args::NewNetworkArgs, command::node, competition_file, contest::TOKENIZER_FILE};
use clap::Parser;
use keys::wallet::Password;
use protocol::{AccountId, CompetitionId};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

#[derive(Debug, Parser)]
struct Parsed {
    #[command(flatten)]
    args: NewNetworkArgs,
}

fn args(dir: &Path, more: &[&str]) -> NewNetworkArgs {
    let dir = dir.to_str().unwrap();
    Parsed::parse_from([&["new", dir][..], more].concat()).args
}

/// All files below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o700, "{}", path.display());
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Lines of a config file with a key that no remark stands above.
fn unexplained(text: &str) -> Vec<&str> {
    let mut is_explained = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            is_explained = true;
        } else if line.trim().is_empty() {
            is_explained = false;
        } else if !is_explained && !line.starts_with('[') {
            found.push(line);
        }
    }
    found
}

#[test]
fn a_new_network_has_every_file_closed_to_others_and_explained_and_all_of_it_loads() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("a network");
    let args = args(&dir, &["--miners", "5", "--block-time", "250ms", "--seed", "9"]);
    create::run(&args).unwrap();
    let mut found = Vec::new();
    files(&dir, &mut found);
    let is_open = |path: &&PathBuf| {
        // What everybody may know is written as any file is.
        !path.ends_with(TOKENIZER_FILE)
            && fs::metadata(path).unwrap().permissions().mode() & 0o077 != 0
    };
    assert_eq!(found.iter().filter(is_open).collect::<Vec<_>>(), Vec::<&PathBuf>::new());

    let network = Network::read(&dir.join(FILE)).unwrap();
    assert_eq!((network.validators.len(), network.miners.len()), (3, 5));
    assert!(network.chain.archive, "old records can be replayed");
    let mut texts = vec![dir.join(FILE), dir.join("chain.toml")];
    texts.extend(network.participants().map(|one| network.path(&one.config)));
    for path in texts {
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(unexplained(&text), [""; 0], "{}", path.display());
        text.parse::<toml::Table>().unwrap();
    }
    let mut addresses = BTreeSet::new();
    for participant in network.participants() {
        let config = network.config(participant).unwrap();
        assert!(addresses.insert(config.listen().unwrap()), "an address twice");
        let none = Password::Ask { environment: &|_| None, person: &|_| None };
        config.wallet().unwrap().load_coldkey(none).unwrap();
    }
    let genesis = node::read_spec(&dir.join("chain.toml")).unwrap();
    assert_eq!((genesis.seed, genesis.accounts.len()), (9, 9));
    let rules = &genesis.subnets[0].hyperparameters;
    assert!(rules.commit_reveal && rules.tempo == 120, "half a minute of blocks");
    for (name, id) in [("tiny", 100), ("nano", 101)] {
        let path = dir.join("competitions").join(name).join(text::COMPETITION_FILE);
        let contest = competition_file::contest(path.to_str().unwrap(), None).unwrap();
        assert_eq!(contest.competition.id, CompetitionId(id));
        assert_eq!(contest.competition.evaluation.blocks_per_round, 120);
    }
}

#[test]
fn a_folder_with_anything_in_it_is_left_alone_and_a_failure_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("thesis.tex"), "years").unwrap();
    let few = ["--validators", "0", "--miners", "0", "--competitions"];
    let error = create::run(&args(&full, &[&few[..], &["nano"]].concat())).unwrap_err();
    assert!(error.to_string().contains("is not empty"), "{error}");
    let other = folder.path().join("other");
    for (competitions, part) in [("nano,nano", "nano"), ("7b", "7b"), ("none.toml", "none.toml")] {
        let error = create::run(&args(&other, &[&few[..], &[competitions]].concat())).unwrap_err();
        assert!(format!("{error:#}").contains(part), "{error:#}");
    }
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["full"]);
}

#[test]
fn miners_are_spread_over_competitions_and_strategies() {
    let owner = Person { name: OWNER.to_owned(), coldkey: AccountId([0; 32]), stake_tao: 0 };
    let site = Site {
        dir: "/x",
        block_time: Duration::from_secs(1),
        seed: 1,
        tempo: 30,
        first_port: 20_000,
        competitions: vec!["tiny", "nano"],
        owner: &owner,
        validators: &[],
        miners: &[],
    };
    let texts =
        (0..4).map(|number| text::miner(&site, &Rival::new(&site, number), &owner).unwrap());
    let lines = ["repo = \"owner/tiny\"", "repo = \"owner/nano\""];
    let strategies = ["strategy = \"pretrain\"", "strategy = \"rebase\""];
    for (number, text) in texts.enumerate() {
        let port = format!("listen = \"127.0.0.1:{}\"", 20_003 + number);
        for part in
            [lines[number % 2], strategies[number / 2], port.as_str(), "steps_per_block = 5"]
        {
            assert!(text.contains(part), "{number}: no `{part}` in {text}");
        }
    }
}

#[test]
fn files_of_a_folder_with_an_odd_name_say_the_same_paths() {
    let person =
        |name: &str| Person { name: name.to_owned(), coldkey: AccountId([1; 32]), stake_tao: 5 };
    let (owner, people) = (person(OWNER), [person("somebody")]);
    for dir in [
        "/x/it's",
        "/x/a \"b\"",
        "/x/'\"both\"'",
        "/x/'''\"\"\"",
        "/x/back\\slash\\u0041",
        "/x/# no remark",
        "/x/[table]\u{a0}é日本",
        "/x/${HOME}",
    ] {
        let site = Site {
            dir,
            block_time: Duration::from_millis(10),
            seed: u64::from(u32::MAX),
            tempo: u16::MAX,
            first_port: 20_000,
            competitions: vec!["tiny"],
            owner: &owner,
            validators: &people,
            miners: &people,
        };
        let table = |text: String| -> toml::Table {
            text.parse().unwrap_or_else(|error| panic!("{dir}: {error}\n{text}"))
        };
        table(text::network(&site));
        table(text::chain(&site));
        let validator = table(text::validator(&site, &people[0], 0).unwrap());
        let miner = table(text::miner(&site, &Rival::new(&site, 0), &people[0]).unwrap());
        for service in [&validator, &miner] {
            assert_eq!(service["home"].as_str().unwrap(), format!("{dir}/somebody"));
            assert_eq!(service["wallet_path"].as_str().unwrap(), format!("{dir}/wallets"));
        }
        let file = format!("{dir}/competitions/tiny/competition.toml");
        assert_eq!(miner["competition"].as_str().unwrap(), file);
        assert_eq!(validator["competitions"][0].as_str().unwrap(), file);
        assert_eq!(miner["steps_per_block"].as_integer(), Some(1), "at least one");
    }
}

#[test]
fn a_folder_whose_path_has_a_comma_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a,b", "a,b/network"] {
        let error = create::run(&args(&folder.path().join(name), &[])).unwrap_err().to_string();
        assert!(error.contains("comma") && error.contains("a,b"), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
