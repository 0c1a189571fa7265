//! A page as its elements, for tests that look at them.

use std::collections::BTreeMap;

/// Elements that have no end.
const VOID: [&str; 3] = ["meta", "link", "input"];

/// An element of a page.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    attributes: BTreeMap<String, String>,
    /// Names of the elements that it is in, the outermost first.
    pub(crate) within: Vec<String>,
    /// All text in it.
    pub(crate) text: String,
}

impl Element {
    /// An attribute, if it has that.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// Whether it is in an element of this name.
    pub(crate) fn is_in(&self, name: &str) -> bool {
        self.within.iter().any(|outer| outer == name)
    }

    /// Where it leads, if it does.
    pub(crate) fn leads_to(&self) -> Option<&str> {
        match self.name.as_str() {
            "a" | "link" => self.get("href"),
            "script" | "img" => self.get("src"),
            "form" => self.get("action"),
            "meta" if self.get("property") == Some("og:image") => self.get("content"),
            _ => None,
        }
    }
}

/// All elements of a page, in the order in which they begin.
pub(crate) fn elements(html: &str) -> Vec<Element> {
    let mut all: Vec<Element> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut rest = html.trim_start_matches("<!DOCTYPE html>");
    loop {
        let (text, tagged) = rest.split_once('<').unwrap_or((rest, ""));
        let text = plain(text);
        for at in &open {
            all[*at].text += &text;
        }
        let Some((tag, after)) = tagged.split_once('>') else { return all };
        rest = after;
        if tag.starts_with('/') {
            open.pop();
            continue;
        }
        let within = open.iter().map(|at| all[*at].name.clone()).collect();
        let (name, attributes) = opened(tag);
        if !VOID.contains(&name.as_str()) {
            open.push(all.len());
        }
        all.push(Element { name, attributes, within, text: String::new() });
    }
}

/// Elements in the one at a place.
pub(crate) fn inside(all: &[Element], at: usize) -> &[Element] {
    let depth = all[at].within.len();
    let rest = &all[at + 1..];
    let n = rest.iter().take_while(|element| element.within.len() > depth).count();
    &rest[..n]
}

/// All of a name.
pub(crate) fn named<'a>(all: &'a [Element], name: &str) -> Vec<&'a Element> {
    all.iter().filter(|element| element.name == name).collect()
}

/// Name and attributes of a tag.
fn opened(tag: &str) -> (String, BTreeMap<String, String>) {
    let mut parts = tag.split('"');
    let mut words = parts.next().unwrap().split_whitespace();
    let name = words.next().unwrap().to_owned();
    let mut attributes = BTreeMap::new();
    let mut keys: Vec<&str> = words.collect();
    loop {
        for key in keys {
            let (key, value) = match key.strip_suffix('=') {
                Some(key) => (key, plain(parts.next().unwrap())),
                None => (key, String::new()),
            };
            attributes.insert(key.to_owned(), value);
        }
        let Some(more) = parts.next() else { return (name, attributes) };
        keys = more.split_whitespace().collect();
    }
}

/// A text as people read it.
fn plain(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    text.replace("&amp;", "&")
}
