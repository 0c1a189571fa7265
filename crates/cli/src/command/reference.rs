//! `agon reference`: the options of all commands and the keys of configuration files, as pages.

use crate::{
    args::{self, Page, ReferenceArgs},
    terminal,
};
use clap::{Arg, Command};
use std::{fmt::Write as _, process::ExitCode};

/// Prints a page.
pub fn run(args: &ReferenceArgs) -> anyhow::Result<ExitCode> {
    let command = args::described();
    let page = match args.page {
        Page::Commands => commands(&command)?,
        Page::Config => config(&command)?,
    };
    terminal::print(&page)?;
    Ok(ExitCode::SUCCESS)
}

/// Says that nobody should edit a page by hand.
const MADE: &str = "This page is made by the program: with AGON_BLESS=1 the test \
                    `cli::pages_are_what_the_program_says_of_itself` writes it anew.";

/// All commands with their options.
fn commands(command: &Command) -> Result<String, std::fmt::Error> {
    let mut out =
        format!("# Commands\n\n{MADE}\n`agon COMMAND --help` says the same with examples.\n");
    each(command, "agon", &mut |name, command| {
        write!(out, "\n## `{name}`\n\n{}\n", about(command))?;
        let shown = |arg: &&Arg| !arg.is_hide_set() && !["help", "version"].contains(&id(arg));
        let mut args = command.get_arguments().filter(shown).peekable();
        if args.peek().is_some() {
            out.push_str("\n| option | meaning |\n| --- | --- |\n");
        }
        args.try_for_each(|arg| writeln!(out, "| `{}` | {} |", usage(arg), meaning(arg)))
    })?;
    Ok(out)
}

/// The keys of the files that commands with `--config` take.
fn config(command: &Command) -> Result<String, std::fmt::Error> {
    let mut out = format!(
        "# Configuration\n\n{MADE}\nEach option of a command below is a key of its `--config` file \
         and a variable of the environment.\nAn option beats a variable, which beats the file.\n\
         Relative paths in a file start at its folder.\n"
    );
    let mut known: Vec<(String, String)> = Vec::new();
    each(command, "agon", &mut |name, command| {
        if !args::takes_config(command) {
            return Ok(());
        }
        let keys = keys(command)?;
        match known.iter().find(|(_, others)| *others == keys) {
            Some((other, _)) => write!(out, "\n## `{name}`\n\nThe keys of `{other}`.\n")?,
            None => write!(out, "\n## `{name}`\n\n{keys}")?,
        }
        known.push((name.to_owned(), keys));
        Ok(())
    })?;
    Ok(out)
}

/// The table of the keys of a command.
fn keys(command: &Command) -> Result<String, std::fmt::Error> {
    let mut out = "| key | variable | default | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for arg in command.get_arguments().filter(|arg| args::is_key(arg)) {
        let default = arg.get_default_values().iter().map(|value| value.to_string_lossy());
        let default: Vec<String> = default.map(|value| format!("`{value}`")).collect();
        let default = match (default.is_empty(), arg.is_required_set()) {
            (false, _) => default.join(", "),
            (true, true) => "required".to_owned(),
            (true, false) => String::new(),
        };
        let (key, variable) = (id(arg), args::variable(id(arg)));
        writeln!(out, "| `{key}` | `{variable}` | {default} | {} |", meaning(arg))?;
    }
    Ok(out)
}

/// Goes through all commands that are shown, each after the one that it belongs to.
fn each(
    command: &Command,
    name: &str,
    visit: &mut dyn FnMut(&str, &Command) -> std::fmt::Result,
) -> std::fmt::Result {
    if command.is_hide_set() || command.get_name() == "help" {
        return Ok(());
    }
    visit(name, command)?;
    let mut commands = command.get_subcommands();
    commands.try_for_each(|next| each(next, &format!("{name} {}", next.get_name()), visit))
}

fn id(arg: &Arg) -> &str {
    arg.get_id().as_str()
}

fn about(command: &Command) -> String {
    command.get_about().map(|about| about.to_string()).unwrap_or_default()
}

/// An option as it is written: `--home <DIR>`.
fn usage(arg: &Arg) -> String {
    let takes_value = arg.get_action().takes_values();
    let names = arg.get_value_names().unwrap_or_default();
    let value = names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" ");
    match arg.get_long() {
        Some(long) if takes_value => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    }
}

/// What an option means, in a cell of a table.
fn meaning(arg: &Arg) -> String {
    let help = arg.get_help().map(|help| help.to_string()).unwrap_or_default();
    let values: Vec<String> =
        arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    let one_of = match values.is_empty() || !arg.get_action().takes_values() {
        true => String::new(),
        false => format!("; one of {}", values.join(", ")),
    };
    format!("{help}{one_of}").replace('\n', " ").replace('|', "\\|")
}
