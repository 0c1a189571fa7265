//! Functions have at most five arguments, and what a tuple holds is counted one by one: a tuple of
//! arguments is a noun that is missing.
//!
//! Where there is no tuple, clippy counts; test code is left out.

use crate::tree;

const ARGUMENTS_MAX: usize = 5;

/// Where tuples are no missing nouns: axum hands the parts of a path over as one, and a point is
/// its two numbers.
const TUPLES_OF_OTHERS: [&str; 2] =
    ["crates/hugging-face/src/dev/routes/", "crates/sim/src/svg.rs"];

/// A function as its signature tells.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    n_arguments: usize,
    has_tuple: bool,
}

/// The functions in `code`, in order.
fn functions(code: &str) -> Vec<Function> {
    // Its `>` closes nothing.
    let code = code.replace("->", "  ");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(is_part) {
            continue;
        }
        let rest = &code[at + "fn ".len()..];
        let name: String = rest.chars().take_while(|c| is_part(*c)).collect();
        let after = &rest[name.len()..];
        let n_generics = if after.starts_with('<') { closed_at(after) } else { 0 };
        let list = &after[n_generics..];
        if !name.is_empty() && list.starts_with('(') {
            let inside = &list[1..closed_at(list) - 1];
            let values: Vec<usize> = entries(inside).into_iter().map(n_values).collect();
            let n_arguments = values.iter().sum();
            let has_tuple = values.iter().any(|n| *n > 1);
            found.push(Function { name, n_arguments, has_tuple });
        }
    }
    found
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length of the text that begins with a bracket, up to the one that closes it.
fn closed_at(text: &str) -> usize {
    let mut depth = 0_i32;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// What stands between the commas of a list, those within brackets aside.
fn entries(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0_i32, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&list[start..]);
    found.retain(|entry| !entry.trim().is_empty());
    found
}

/// How many values an argument hands over.
fn n_values(argument: &str) -> usize {
    let argument = argument.trim();
    let n_pattern = if argument.starts_with('(') { closed_at(argument) } else { 0 };
    n_values_of(argument[n_pattern..].split_once(':').map_or("self", |(_, of)| of.trim()))
}

/// How many values a type has: those of a tuple, and of tuples in it.
fn n_values_of(of: &str) -> usize {
    // `&'a mut (A, B)` is a tuple as well.
    let mut of = of.trim_start_matches('&').trim_start();
    if let Some(lifetime) = of.strip_prefix('\'') {
        of = lifetime.trim_start_matches(is_part).trim_start();
    }
    let of = of.strip_prefix("mut ").unwrap_or(of);
    if of.starts_with('(') && closed_at(of) == of.len() {
        let values = entries(&of[1..of.len() - 1]).into_iter();
        values.map(|entry| n_values_of(entry.trim())).sum::<usize>().max(1)
    } else {
        1
    }
}

#[test]
fn functions_have_at_most_five_arguments_with_those_of_tuples() {
    let (mut found, mut n_functions) = (Vec::new(), 0);
    for file in tree::rust_files() {
        if TUPLES_OF_OTHERS.iter().any(|path| file.path.starts_with(path)) {
            continue;
        }
        for Function { name, n_arguments, has_tuple } in functions(&file.product_code()) {
            n_functions += 1;
            if has_tuple && n_arguments > ARGUMENTS_MAX {
                found.push(format!("{}: `{name}` has {n_arguments}", file.path));
            }
        }
    }
    assert!(n_functions > 4_000, "{n_functions} functions were found: there are more");
    assert!(
        found.is_empty(),
        "{}\nFind the noun that the arguments are, and make it a struct",
        found.join("\n")
    );
}

#[test]
fn arguments_are_counted_one_by_one() {
    let code = "fn none() {} fn own(&self) {} fn of<T: Fn(u8, u8) -> u8>(a: T, b: [u8; 2]) {}
        fn pair(&'a mut self, (a, b): (u8, &'a [u8]), c: (u8, &'a mut (u8, u8))) -> (u8, u8) {}
        fn one(f: &(dyn Fn(u8, u8) + Sync), m: Map<(u8, u8), u8>,) {} type F = fn(u8, u8);
        struct S { f: fn (u8, u8) }";
    let named = [("none", 0), ("own", 1), ("of", 2), ("pair", 6), ("one", 2)];
    let of = |(name, n_arguments): (&str, usize)| Function {
        name: name.to_owned(),
        n_arguments,
        has_tuple: name == "pair",
    };
    let expected: Vec<Function> = named.map(of).into();
    assert_eq!(functions(code), expected);
}
