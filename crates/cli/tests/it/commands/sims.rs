//! `agon sim`: seasons from files, tables, JSON and charts.

use super::workshop::{Workshop, agon};

const SMALL: [&str; 4] = ["--seeds", "1", "--blocks", "60"];

#[test]
fn a_run_gives_the_same_figures_twice_and_draws_them() {
    let workshop = Workshop::new();
    let svg = workshop.path("quality.svg");
    let run =
        |rest: &[&str]| agon(&[&["sim", "run", "--scenario", "short"], &SMALL[..], rest].concat());
    let figures = run(&["--json"]).json();
    assert_eq!(figures, run(&["--json", "--threads", "1", "--svg", &svg]).json());
    assert_eq!(figures[0]["rules"], "succession");
    assert!(figures[0]["agreement"]["mean"].as_f64().unwrap() > 0.9, "{figures}");
    assert!(std::fs::read_to_string(&svg).unwrap().contains("True loss of the champion"));
    let table = run(&[]);
    assert_eq!(table.code, 0, "{}", table.err);
    assert!(table.out.contains("right crown") && table.out.contains("rebase"), "{}", table.out);
}

#[test]
fn a_zoo_has_a_row_for_each_attack_and_set_of_rules() {
    let zoo = ["sim", "zoo", "--scenario", "short", "--attacks", "copy,gate", "--json"];
    let payoffs = agon(&[&zoo[..], &SMALL].concat()).json();
    let names: Vec<_> = payoffs.as_array().unwrap().iter().map(|p| &p["attack"]).collect();
    assert_eq!(names, ["copy", "gate"]);
}

#[test]
fn typos_are_named_with_what_was_meant() {
    let workshop = Workshop::new();
    let text = crate::tree::read("scenarios/short.toml").replace("blocks = 200", "blocksx = 200");
    let file = workshop.file("typo.toml", text);
    for (args, meant) in [
        (vec!["sim", "run", "--scenario", &file], "`blocks`"),
        (vec!["sim", "run", "--scenario", "shortx"], "`short`"),
        (vec!["sim", "run", "--scenario", "short", "--rules", "successionx"], "`succession`"),
        (vec!["sim", "zoo", "--attacks", "hoardx"], "`hoard`"),
    ] {
        let ran = agon(&args);
        assert_eq!(ran.code, 2, "{args:?}");
        let told = format!("did you mean {meant}?");
        assert!(ran.err.contains(&told), "{args:?}: {}", ran.err);
    }
}
