//! How far a network is: a small file that its supervisor keeps, and the table of it.

use super::file::{Config, Network};
use crate::{
    args::NetworkStatusArgs,
    failure::HintExt as _,
    input,
    terminal::{print, print_json},
};
use anyhow::Context as _;
use records::{Folder, RECORDS_FOLDER};
use serde::{Deserialize, Serialize};
use std::{path::Path, process::ExitCode};

/// Name of the file in the folder of the network.
const FILE: &str = "status.json";
/// Most bytes of that file.
const SIZE_BYTES_MAX: u64 = 1 << 20;
/// Exit code where the network does not run.
const NOT_RUNNING: u8 = 1;

/// A network at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The newest block that the supervisor has heard of.
    pub block: Option<u64>,
    /// Its processes, in the order in which they start.
    pub processes: Vec<ProcessStatus>,
}

/// A process at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Name.
    pub name: String,
    /// `up`, `starting`, `restarting` or `off`.
    pub state: String,
    /// Number of the process, while there is one.
    pub pid: Option<u32>,
    /// How often it ended.
    pub n_ends: u64,
    /// Rounds that it has decided, for validators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounds: Option<u64>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    running: bool,
    #[serde(flatten)]
    status: Status,
}

impl Status {
    /// Keeps it for whoever asks.
    pub fn write(&self, network: &Network) -> anyhow::Result<()> {
        disk::write(&network.path(Path::new(FILE)), &serde_json::to_vec(self)?)?;
        Ok(())
    }

    /// In one line.
    pub fn line(&self) -> String {
        let mut line = match self.block {
            Some(block) => format!("block {block}"),
            None => "no block yet".to_owned(),
        };
        for ProcessStatus { name, state, rounds, .. } in &self.processes {
            let rounds = rounds.map(|rounds| format!(" ({rounds} rounds)")).unwrap_or_default();
            line += &format!(", {name} {state}{rounds}");
        }
        line
    }
}

/// Rounds that a validator has a record of, over all competitions.
pub fn rounds(config: &Config) -> u64 {
    let folder = Folder::new(config.home.join(RECORDS_FOLDER));
    // What cannot be listed now is counted again in a moment.
    let newest = |competition: &String| folder.list(competition).ok()?.last().copied();
    let competitions = folder.competitions().unwrap_or_default();
    competitions.iter().filter_map(newest).fold(0, u64::saturating_add)
}

/// `agon network status`.
pub fn run(args: &NetworkStatusArgs) -> anyhow::Result<ExitCode> {
    let network = Network::read(&args.config)?;
    let running = network.is_running();
    let path = network.path(Path::new(FILE));
    let status: Status = match path.exists() {
        true => serde_json::from_slice(&input::read(&path, SIZE_BYTES_MAX)?)
            .with_context(|| input::name(&path))
            .hint("it is written anew while the network runs: delete it")?,
        false => Status::default(),
    };
    let code = if running { ExitCode::SUCCESS } else { ExitCode::from(NOT_RUNNING) };
    if args.json {
        print_json(&Report { running, status })?;
    } else {
        print(&table(&status, running))?;
    }
    Ok(code)
}

fn table(status: &Status, running: bool) -> String {
    let mut text = match (running, status.block) {
        (true, Some(block)) => format!("running, block {block}\n"),
        (true, None) => "starting\n".to_owned(),
        (false, Some(block)) => format!("not running; the last block known is {block}\n"),
        (false, None) => "not running, and never was\n".to_owned(),
    };
    let cell = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    if !status.processes.is_empty() {
        let head = ["process", "state", "pid", "ends", "rounds"];
        text += &row(head.map(str::to_owned));
    }
    for process in &status.processes {
        let ProcessStatus { name, state, pid, n_ends, rounds } = process;
        let (state, pid) = match running {
            true => (state.as_str(), cell(pid.map(u64::from))),
            false => ("off", cell(None)),
        };
        let rounds = cell(*rounds);
        text += &row([name.clone(), state.to_owned(), pid, n_ends.to_string(), rounds]);
    }
    text
}

fn row([name, state, pid, n_ends, rounds]: [String; 5]) -> String {
    format!("  {name:<32} {state:<10} {pid:>8} {n_ends:>5} {rounds:>7}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_told_in_a_line_and_in_a_table() {
        let process = ProcessStatus {
            name: "validator-1".to_owned(),
            state: "up".to_owned(),
            pid: Some(77),
            n_ends: 2,
            rounds: Some(5),
        };
        let status = Status { block: Some(9), processes: vec![process] };
        assert_eq!(status.line(), "block 9, validator-1 up (5 rounds)");
        let running = table(&status, true);
        assert!(running.starts_with("running, block 9\n") && running.contains(" 77 "), "{running}");
        let off = table(&status, false);
        assert!(off.contains(" off ") && !off.contains("77"), "{off}");
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    }

    #[test]
    fn a_status_that_was_cut_is_named_and_one_of_before_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("network.toml");
        let text = "format = 1\nnetuid = 1\n\
                    [chain]\nlisten = \"127.0.0.1:9\"\nhome = \"n\"\nspec = \"c\"\nblock_time = \"1s\"\n\
                    [hub]\nlisten = \"127.0.0.1:8\"\ndir = \"h\"\n\
                    [logs]\ndir = \"l\"\nsize_bytes_max = 9\nn_files_max = 2\n";
        std::fs::write(&config, text).unwrap();
        let args = NetworkStatusArgs { config, json: false };
        for cut in ["", "{", "{\"block\": 9", "[]"] {
            std::fs::write(folder.path().join(FILE), cut).unwrap();
            let error = format!("{:#}", run(&args).unwrap_err());
            assert!(error.contains(FILE), "{cut}: {error}");
        }
        let before = "{\"block\":null,\"processes\":[{\"name\":\"node\",\"state\":\"up\",\
                      \"pid\":1,\"n_ends\":0}]}";
        let status: Status = serde_json::from_str(before).unwrap();
        assert_eq!(status.line(), "no block yet, node up");
        assert_eq!(serde_json::to_string(&status).unwrap(), before);
        assert_eq!(table(&Status::default(), false), "not running, and never was\n");
        assert_eq!(table(&Status::default(), true), "starting\n");
    }
}
