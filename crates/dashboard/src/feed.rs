//! What other programs read: a feed of crowns, meters, a badge; and the files that pages need.

use crate::{
    ask::Ask,
    clock::utc,
    index::{Head, Index},
    page::{Answer, Site, Trouble, name},
};
use maud::{Markup, PreEscaped, html};
use protocol::Block;

/// Most crowns of a competition in the feed.
const CROWNS_MAX: u64 = 50;
/// Width of a letter of a badge, in pixels.
const LETTER: usize = 7;

/// Files that pages need, by path.
pub fn file(path: &str) -> Option<Answer> {
    match path {
        "/style.css" => {
            Some(Answer::of("text/css; charset=utf-8", include_str!("../assets/style.css")))
        }
        "/live.js" => {
            let script = include_str!("../assets/live.js");
            Some(Answer::of("text/javascript; charset=utf-8", script))
        }
        "/icon.svg" => Some(Answer::of(crate::page::SVG, include_str!("../assets/icon.svg"))),
        _ => None,
    }
}

/// Changes of all crowns as an Atom feed, the newest of each competition first.
pub fn atom(site: &Site, index: &Index, ask: &Ask) -> Result<Answer, Trouble> {
    let mut entries = Vec::new();
    let mut newest: Option<Block> = None;
    let heads = index.heads()?;
    for competition in site.known(&heads) {
        let Some(narration) = site.narration(index, ask, competition)? else { continue };
        for crown in index.crowns(narration.row.series(), ask.until(), CROWNS_MAX)? {
            newest = newest.max(Some(crown.row.block));
            let time = utc(site.clock.seconds(crown.row.block).unwrap_or(0));
            let (to, from) = (name(&crown.to), crown.from.as_ref());
            let from = from.map_or("nobody".to_owned(), name);
            let why = format!("/c/{competition}/crown/{}", crown.row.number);
            entries.push(html! {
                entry {
                    id { "urn:sha256:" (crown.row.digest.hex()) }
                    title { (competition) ": " (to) " took the crown from " (from) }
                    updated { (time) }
                    link rel="alternate" type="text/html" href=(why) {}
                    summary { "At block " (crown.row.block.0) ", by record " (crown.row.number) "." }
                }
            });
        }
    }
    let updated = utc(newest.and_then(|block| site.clock.seconds(block)).unwrap_or(0));
    let feed = html! {
        (PreEscaped("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"))
        feed xmlns="http://www.w3.org/2005/Atom" {
            id { "urn:agon:crowns" }
            title { "Crowns" }
            updated { (updated) }
            author { name { "agon dashboard" } }
            link rel="self" href="/crowns.atom" {}
            @for entry in &entries { (entry) }
        }
    };
    Ok(Answer::of("application/atom+xml; charset=utf-8", feed.into_string()))
}

/// What a dashboard knows, in Prometheus' text format. Labels are keys and names of competitions,
/// which have few letters and no others.
pub fn metrics(site: &Site, index: &Index) -> Result<Answer, Trouble> {
    let mut out = String::new();
    let mut family = |name: &str, what: &str, lines: Vec<(String, u64)>| {
        out +=
            &format!("# HELP agon_dashboard_{name} {what}\n# TYPE agon_dashboard_{name} gauge\n");
        for (labels, value) in lines {
            out += &format!("agon_dashboard_{name}{labels} {value}\n");
        }
    };
    let heads = index.heads()?;
    let each = |value: fn(&Head) -> u64| -> Vec<(String, u64)> {
        let line = |head: &Head| {
            let (competition, validator) = (&head.competition, head.validator);
            let labels = format!("{{competition=\"{competition}\",validator=\"{validator}\"}}");
            (labels, value(head))
        };
        heads.iter().map(line).collect()
    };
    family("records", "Records that are believed.", each(|head| head.n_records));
    family("record_block", "Block of the newest of them.", each(|head| head.block.0));
    family("flaws", "Whether a record is false.", each(|head| u64::from(head.flaw.is_some())));
    let troubles = site.troubles.all().len() as u64;
    family("troubles", "Places that cannot be read.", vec![(String::new(), troubles)]);
    let block = site.clock.head().map_or(0, |block| block.0);
    family("chain_block", "Newest block of the chain.", vec![(String::new(), block)]);
    Ok(Answer::of("text/plain; version=0.0.4; charset=utf-8", out))
}

/// A badge of two words.
pub fn badge(left: &str, right: &str) -> Markup {
    let [a, b] = [left, right].map(|text| LETTER * text.chars().count() + 12);
    let width = a + b;
    html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height="20" role="img"
            aria-label=(format!("{left}: {right}")) {
            title { (left) ": " (right) }
            rect width=(a) height="20" fill="#444" {}
            rect x=(a) width=(b) height="20" fill="#0b5cad" {}
            g fill="#fff" text-anchor="middle" font-family="Verdana,sans-serif" font-size="11" {
                text x=(a / 2) y="14" { (left) }
                text x=(a + b / 2) y="14" { (right) }
            }
        }
    }
}
