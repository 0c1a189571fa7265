//! Pages: what an address leads to, and the frame around it.
//!
//! Whatever a stranger wrote is escaped by the templates, which are checked when this is compiled:
//! nothing but charts of our own is put into a page as it is.

mod board;
mod card;
mod competition;
mod crown;
mod kin;
mod lengths;
mod losses;
mod means;
mod model;
mod network;
mod overview;
mod pay;
mod root;
mod round;
mod whose;

pub use kin::Kinships;
pub(crate) use overview::name;
pub use whose::Narration;

use crate::{
    api,
    ask::{Ask, Form, encoded},
    clock::{Clock, utc},
    feed, figures,
    index::{self, Index, Series, State},
    reader::{Rules, Troubles},
    table::{Cell, Table},
};
use maud::{DOCTYPE, Markup, html};
use protocol::{AccountId, Block, Digest};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What all pages share.
#[derive(Clone, Debug)]
pub struct Site {
    /// Rules that are known here.
    pub rules: Arc<Rules>,
    /// When blocks were.
    pub clock: Arc<Clock>,
    /// What does not work.
    pub troubles: Arc<Troubles>,
    /// Address of the hub of the models, to which repos lead.
    pub hub: String,
    /// Address by which readers reach the pages, where it is known: whoever shows a preview of one
    /// wants whole addresses of pictures.
    pub public_url: Option<String>,
    /// Relatives of models that were found.
    pub kinships: Arc<Kinships>,
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Number of HTTP.
    pub status: u16,
    /// Kind of the content.
    pub kind: &'static str,
    /// The content.
    pub body: Vec<u8>,
}

impl Answer {
    /// A text that is there.
    pub fn of(kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, kind, body: body.into() }
    }
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nothing is there, and what would have to be.
    #[error("{0}")]
    Missing(String),
    /// The index fails.
    #[error(transparent)]
    Index(#[from] index::Error),
}

/// Most rows of a list that are sorted, filtered, or given as CSV and JSON.
const ROWS_MAX: u64 = 10_000;

/// Whether rows are wanted that one page of a list has not: sorted or filtered ones, or a file.
fn is_of_all_rows(ask: &Ask) -> bool {
    ask.form != Form::Html || ask.get("sort").is_some() || ask.get("q").is_some()
}

/// Says that something is missing.
fn missing<T>(what: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Missing(what.into()))
}

/// A part of a page.
enum Part {
    Markup(Markup),
    Table(Table),
}

/// A page without its frame.
struct Page {
    title: String,
    /// What it says in one sentence, for previews as well.
    lead: String,
    parts: Vec<Part>,
    /// Where its numbers come from.
    from: Option<Markup>,
    /// Path of a picture for previews.
    picture: Option<String>,
}

impl Page {
    fn new(title: impl Into<String>, lead: impl Into<String>) -> Self {
        let (title, lead) = (title.into(), lead.into());
        Self { title, lead, parts: Vec::new(), from: None, picture: None }
    }

    fn show(&mut self, markup: Markup) {
        self.parts.push(Part::Markup(markup));
    }

    fn table(&mut self, table: Table) {
        self.parts.push(Part::Table(table));
    }
}

/// The kind of pages.
const HTML: &str = "text/html; charset=utf-8";
/// The kind of charts and badges.
pub(crate) const SVG: &str = "image/svg+xml";
const JSON: &str = "application/json";

impl Site {
    /// The answer to what is asked for.
    pub fn answer(&self, index: &Index, ask: &Ask) -> Answer {
        match index.at_once(|index| self.found(index, ask)) {
            Ok(answer) => answer,
            Err(trouble) => self.refusal(ask, &trouble),
        }
    }

    fn found(&self, index: &Index, ask: &Ask) -> Result<Answer, Trouble> {
        let path: Vec<&str> = ask.path.iter().map(String::as_str).collect();
        let page = match path[..] {
            [] => self.overview(index, ask)?,
            ["c", competition] => self.competition(index, ask, competition)?,
            ["c", competition, "rounds"] => self.rounds(index, ask, competition)?,
            ["c", competition, "round", number] => self.round(index, ask, (competition, number))?,
            ["c", competition, "round", number, "losses"] => {
                self.losses_of_round(index, ask, (competition, number))?
            }
            ["c", competition, "crown", number] => self.crown(index, ask, (competition, number))?,
            ["c", competition, "compare"] => self.compare(index, ask, competition)?,
            ["c", competition, "chart.svg"] => return self.chart_file(index, ask, competition),
            ["c", competition, "badge.svg"] => return self.badge(index, ask, competition),
            ["model", root] => self.model(index, ask, root)?,
            ["miner", hotkey] => self.miner(index, ask, hotkey)?,
            ["validator", hotkey] => self.validator(index, ask, hotkey)?,
            ["network"] => self.network(index, ask)?,
            ["record", validator, competition, number] => {
                return published(index, (validator, competition, number));
            }
            ["crowns.atom"] => return feed::atom(self, index, ask),
            ["metrics"] => return feed::metrics(self, index),
            ["openapi"] => return Ok(Answer::of(JSON, api::OPENAPI)),
            ["healthz"] => return Ok(Answer::of("text/plain", "ok\n")),
            _ => return missing("nothing is at this address"),
        };
        self.formed(index, ask, page)
    }

    /// A page in the form that is wanted.
    fn formed(&self, index: &Index, ask: &Ask, mut page: Page) -> Result<Answer, Trouble> {
        let tables = page.parts.iter_mut().filter_map(|part| match part {
            Part::Table(table) => Some(table),
            Part::Markup(_) => None,
        });
        let mut tables: Vec<&mut Table> = tables.collect();
        tables.iter_mut().for_each(|table| table.arrange(ask));
        match ask.form {
            Form::Csv => {
                let wanted = ask.get("table");
                let is_wanted = |table: &&&mut Table| wanted.is_none_or(|name| name == table.name);
                match tables.iter().find(is_wanted) {
                    Some(table) => Ok(Answer::of("text/csv; charset=utf-8", table.csv())),
                    None => missing("the page has no such table"),
                }
            }
            Form::Json => {
                let all: Map<String, Value> =
                    tables.iter().map(|table| (table.name.to_owned(), table.json())).collect();
                let whole = json!({
                    "title": page.title,
                    "summary": page.lead,
                    "block": ask.block().map(|block| block.0),
                    "tables": all,
                });
                Ok(Answer::of(JSON, whole.to_string()))
            }
            Form::Html => {
                let heads = index.heads()?;
                let names = self.told(index, ask, &heads)?;
                Ok(Answer::of(HTML, self.framed(ask, &page, &names).into_string()))
            }
        }
    }

    /// What is said where there is no page.
    fn refusal(&self, ask: &Ask, trouble: &Trouble) -> Answer {
        let (status, title) = match trouble {
            Trouble::Missing(_) => (404, "Not here"),
            Trouble::Index(_) => (503, "The index cannot be read"),
        };
        let said = trouble.to_string();
        if ask.form != Form::Html {
            let body = json!({ "error": said }).to_string().into_bytes();
            return Answer { status, kind: JSON, body };
        }
        let mut page = Page::new(title, said);
        page.show(html! { p { a href="/" { "All competitions" } } });
        let body = self.framed(ask, &page, &[]).into_string().into_bytes();
        Answer { status, kind: HTML, body }
    }

    /// A page with what is around all of them; the competitions are those of the navigation.
    fn framed(&self, ask: &Ask, page: &Page, competitions: &[&str]) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                (self.head(page))
                body {
                    a class="skip" href="#content" { "To the content" }
                    header class="top" {
                        a class="brand" href=(ask.to(&[])) { "agon" }
                        nav aria-label="Pages" {
                            @for name in competitions { a href=(ask.to(&["c", *name])) { (*name) } }
                            a href=(ask.to(&["network"])) { "network" }
                        }
                        (scrubber(ask))
                    }
                    main id="content" data-live=[ask.block().is_none().then_some("yes")] {
                        (self.notices(ask))
                        h1 { (page.title) }
                        p class="lead" { (page.lead) }
                        @for part in &page.parts { (shown(ask, part)) }
                        @if let Some(from) = &page.from { p class="from" { (from) } }
                    }
                    footer {
                        p {
                            "Read from the chain and from signed records, each checked here; no "
                            "validator is believed. "
                            a href="/crowns.atom" { "Atom feed of crowns" } " · "
                            a href="/api/v1/openapi.json" { "API" } " · "
                            a href=(ask.as_form("json", "")) { "this page as JSON" }
                        }
                        p id="live" role="status" aria-live="polite" {}
                    }
                }
            }
        }
    }

    fn head(&self, page: &Page) -> Markup {
        // Not by what a request calls this place: a stranger writes that, and answers are kept.
        let here = self.public_url.as_deref().unwrap_or_default();
        html! {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="description" content=(page.lead);
                meta property="og:title" content=(page.title);
                meta property="og:description" content=(page.lead);
                @if let Some(picture) = &page.picture {
                    meta property="og:image" content={ (here) (picture) };
                }
                title { (page.title) " – agon" }
                link rel="stylesheet" href="/style.css";
                link rel="icon" type="image/svg+xml" href="/icon.svg";
                link rel="alternate" type="application/atom+xml" title="Crowns" href="/crowns.atom";
                script src="/live.js" defer {}
            }
        }
    }

    /// What a reader must know before anything else: another block, and what does not work.
    fn notices(&self, ask: &Ask) -> Markup {
        let troubles = self.troubles.all();
        html! {
            @if let Some(block) = ask.block() {
                p class="notice" {
                    "As of block " (self.block(block)) ". "
                    a href=(ask.own()) { "Show the newest" }
                }
            }
            @for (place, what) in &troubles {
                p class="notice bad" { "Not up to date: " (place) ": " (what) }
            }
        }
    }

    /// A block with the time of it.
    fn block(&self, block: Block) -> Markup {
        html! {
            (block.0)
            @if let Some(time) = self.clock.seconds(block).map(utc) {
                ", " time datetime=(time) { "about " (time) }
            }
        }
    }

    /// A number of blocks with the time that they take.
    fn age(&self, n_blocks: u64) -> String {
        let seconds = n_blocks.saturating_mul(self.clock.millis_per_block()) / 1_000;
        format!("{}, {}", figures::plural(n_blocks, "block"), figures::lasting(seconds))
    }

    /// A cell with a block.
    fn block_cell(&self, block: Block) -> Cell {
        Cell::count(block.0)
    }

    /// The repo of a model, leading to its hub.
    fn repo_cell(&self, repo: Option<&str>, revision: Option<&str>) -> Cell {
        let Some(repo) = repo else { return Cell::text("–") };
        let at = revision.map_or(String::new(), |revision| format!("/tree/{revision}"));
        Cell::text(repo).to(format!("{}/{repo}{at}", self.hub))
    }
}

fn shown(ask: &Ask, part: &Part) -> Markup {
    match part {
        Part::Markup(markup) => markup.clone(),
        Part::Table(table) => table.html(ask),
    }
}

/// Fields for a past block and for what rows must contain.
fn scrubber(ask: &Ask) -> Markup {
    html! {
        form method="get" action=(ask.own()) role="search" {
            @for (name, value) in ask.others(&["block", "q", "page"]) {
                input type="hidden" name=(name) value=(value);
            }
            label { "Filter " input type="search" name="q" value=[ask.get("q")]; }
            label {
                "At block "
                input type="number" name="block" min="0" step="1" placeholder="newest"
                    value=[ask.get("block")];
            }
            button { "Show" }
        }
    }
}

/// A record as it was published.
fn published(
    index: &Index,
    (validator, competition, number): (&str, &str, &str),
) -> Result<Answer, Trouble> {
    let (Ok(validator), Ok(number)) = (validator.parse(), number.parse()) else {
        return missing("expected /record/VALIDATOR/COMPETITION/NUMBER.json");
    };
    match index.record(Series { validator, competition }, number)? {
        Some(row) => Ok(Answer::of(JSON, index.signed(row.id)?)),
        None => missing("this record is not in the index"),
    }
}

/// A key as a cell that leads to its page.
fn key_cell(ask: &Ask, kind: &str, key: AccountId) -> Cell {
    let key = key.to_string();
    Cell::text(key.clone()).shown(figures::short(&key)).to(ask.to(&[kind, &key]))
}

/// The page of a round by the records of its validator, whoever other pages are told by.
fn round_of(ask: &Ask, series: Series<'_>, number: u64) -> String {
    let Series { validator, competition } = series;
    let block = ask.block().map_or(String::new(), |block| format!("&block={block}"));
    format!("/c/{}/round/{number}?validator={validator}{block}", encoded(competition))
}

/// A root as a cell that leads to the page of its model.
fn root_cell(ask: &Ask, root: Option<Digest>) -> Cell {
    let Some(root) = root else { return Cell::text("–") };
    let hex = root.hex();
    Cell::text(root.to_string()).shown(figures::short(&hex)).to(ask.to(&["model", &hex]))
}

/// How far a record is believed, in words and in a colour.
fn belief(state: State, is_derived: bool) -> (&'static str, &'static str) {
    match (state, is_derived) {
        (State::Believed, true) => ("signed, linked, verdict derived again", "good"),
        (State::Believed, false) => {
            ("signed, linked; not derived: rules of it, or before it, are not known", "fair")
        }
        (State::Disputed, _) => {
            ("disputed: another validator found other losses, and no stake decides", "bad")
        }
        (State::Outvoted, _) => ("false: validators with more stake found other losses", "bad"),
    }
}
