//! XML as strict readers take it: what is no XML ends a test.

/// An element with what is in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Element>,
    /// All of its own text, without that of its children.
    pub(crate) text: String,
}

impl Element {
    /// The value of an attribute.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The number that an attribute has to be.
    pub(crate) fn number(&self, name: &str) -> f64 {
        let value = self.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number"))
    }

    /// The one child of a name.
    pub(crate) fn child(&self, name: &str) -> &Self {
        let mut found = self.children.iter().filter(|child| child.name == name);
        let first = found.next().unwrap_or_else(|| panic!("no {name} in {self:?}"));
        assert!(found.next().is_none(), "two of {name} in {self:?}");
        first
    }

    /// The element and everything in it.
    pub(crate) fn all(&self) -> Vec<&Self> {
        let below = self.children.iter().flat_map(Self::all);
        std::iter::once(self).chain(below).collect()
    }

    /// All elements of a name within it.
    pub(crate) fn named(&self, name: &str) -> Vec<&Self> {
        self.all().into_iter().filter(|element| element.name == name).collect()
    }
}

/// The root of a document.
pub(crate) fn parse(text: &str) -> Element {
    for c in text.chars() {
        assert!(is_allowed(c), "XML has no character {c:?}");
    }
    let body = match text.strip_prefix("<?xml ") {
        Some(rest) => rest.split_once("?>").expect("the end of the declaration").1,
        None => text,
    };
    let mut rest = body.trim_start();
    let root = element(&mut rest);
    assert_eq!(rest.trim(), "", "something follows the root");
    root
}

/// Characters of XML 1.0, section 2.2.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..=char::MAX)
}

fn take<'a>(rest: &mut &'a str, until: &str) -> &'a str {
    let (before, after) = rest.split_once(until).unwrap_or_else(|| panic!("no {until} in {rest}"));
    *rest = after;
    before
}

fn element(rest: &mut &str) -> Element {
    *rest = rest.strip_prefix('<').unwrap_or_else(|| panic!("no element: {rest}"));
    let mut found = Element { name: name(rest), ..Element::default() };
    loop {
        *rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("/>") {
            *rest = after;
            return found;
        }
        if let Some(after) = rest.strip_prefix('>') {
            *rest = after;
            break;
        }
        let attribute = name(rest);
        *rest = rest.strip_prefix("=\"").unwrap_or_else(|| panic!("{attribute} has no value"));
        assert!(found.get(&attribute).is_none(), "{attribute} twice");
        let value = decoded(take(rest, "\""));
        found.attributes.push((attribute, value));
    }
    loop {
        let at = rest.find('<').unwrap_or_else(|| panic!("<{}> has no end", found.name));
        let (text, after) = rest.split_at(at);
        found.text += &decoded(text);
        *rest = after;
        if let Some(after) = rest.strip_prefix("</") {
            *rest = after;
            assert_eq!(take(rest, ">"), found.name, "the end of another");
            return found;
        }
        found.children.push(element(rest));
    }
}

fn name(rest: &mut &str) -> String {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-_:".contains(c);
    let end = rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    assert!(name.starts_with(|c: char| c.is_ascii_alphabetic()), "no name: {rest}");
    *rest = after;
    name.to_owned()
}

/// A text without its references, of which XML has five by name.
fn decoded(text: &str) -> String {
    assert!(!text.contains('<'), "a tag in {text}");
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, after) = part.split_once(';').unwrap_or_else(|| panic!("a bare & in {text}"));
        out += match name {
            "amp" => "&",
            "lt" => "<",
            "gt" => ">",
            "quot" => "\"",
            "apos" => "'",
            other => panic!("XML has no &{other};"),
        };
        out += after;
    }
    out
}

#[test]
fn what_is_no_xml_is_told_from_what_is() {
    let root = parse("<?xml version=\"1.0\"?>\n<a b=\"1&amp;2\"><c/>x &lt; y<c d=\"\">z</c></a>");
    assert_eq!((root.get("b"), root.text.as_str()), (Some("1&2"), "x < y"));
    assert_eq!((root.named("c").len(), root.children[1].text.as_str()), (2, "z"));
    for bad in [
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a b=c/>",
        "<a b=\"1\" b=\"2\"/>",
        "<a b=\"<\"/>",
        "<a>&nbsp;</a>",
        "<a>&</a>",
        "<a>\u{0}</a>",
        "<a>\u{b}</a>",
        "<a>\u{ffff}</a>",
        "text",
    ] {
        assert!(std::panic::catch_unwind(|| parse(bad)).is_err(), "{bad:?} is no XML");
    }
}
