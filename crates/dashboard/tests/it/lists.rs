//! Lists over several pages, pages of the past, and how validators agree.

use crate::scene::{Home, Judge, player};

#[test]
fn a_list_is_sorted_and_filtered_as_a_whole_and_so_it_is_in_files() {
    let mut judge = Judge::new(1);
    for _ in 0..260 {
        judge.judge(&[player(1, 0.0)]);
    }
    let mut home = Home::new();
    home.read(&[&judge]);
    let is_there =
        |address: &str, number: u64| home.page(address).contains(&format!(">{number}</a></td>"));
    assert!(is_there("/c/tiny/rounds", 260) && !is_there("/c/tiny/rounds", 1));
    assert!(is_there("/c/tiny/rounds?page=2", 1) && !is_there("/c/tiny/rounds?page=2", 260));
    let upwards = "/c/tiny/rounds?sort=records.number";
    assert!(is_there(upwards, 1) && !is_there(upwards, 260));
    assert!(is_there("/c/tiny/rounds?sort=records.number&page=2", 260));
    assert!(is_there("/c/tiny/rounds?q=1010", 1), "the first has that block");
    let sorted = home.page("/c/tiny/rounds?page=2");
    assert!(!sorted.contains("page=2&amp;sort="), "what is sorted begins with the first page");
    assert_eq!(home.page("/c/tiny/rounds.csv?page=2").lines().count(), 261);
    let validator = home.page(&format!("/validator/{}", judge.key.public()));
    assert!(validator.contains("The newest 256 are listed"), "{validator}");
}

#[test]
fn what_was_not_there_yet_at_a_past_block_is_said_to_be_so() {
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    for address in [
        "/c/tiny/round/4?block=1020",
        "/c/tiny/round/4/losses?block=1020",
        "/c/tiny/crown/2?block=1015",
    ] {
        let answer = home.answer(address);
        let body = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 404, "{address}");
        assert!(body.contains("it was not there yet"), "{address}: {body}");
    }
    assert_eq!(home.answer("/c/tiny/round/2?block=1020").status, 200);
    let validator = format!("/validator/{}", judge.key.public());
    assert!(home.page(&validator).contains("4 records signed by it"));
    let before = home.page(&format!("{validator}?block=1020"));
    assert!(before.contains("2 records signed by it"), "{before}");
    let first = home.page(&format!("{validator}?block=1000"));
    assert!(first.contains("No record of it is believed, up to this block"), "{first}");
}

#[test]
fn a_validator_is_shown_beside_the_others_with_what_is_false_among_its_records() {
    let [one, same] = [1, 2].map(Judge::of_four_rounds);
    let mut other = Judge::new(3);
    other.judge(&[player(1, 0.0), player(2, 0.2)]);
    let mut home = Home::new();
    home.read(&[&one, &same, &other]);
    let csv = home.page(&format!("/validator/{}.csv?table=agreement", one.key.public()));
    assert!(csv.lines().any(|line| line == "tiny,4,1040,1,1,1"), "{csv}");
    assert!(csv.lines().any(|line| line.starts_with("tiny,1,1010,2,1,")), "{csv}");

    let mut record = crate::reading::read(&same, 3).record;
    record.models[0].verdict.weight = 0.123;
    let signed = records::Signed::sign(record, &same.key);
    std::fs::write(same.path(3), signed.to_json()).unwrap();
    let mut home = Home::new();
    home.read(&[&same]);
    let csv = home.page(&format!("/validator/{}.csv?table=records", same.key.public()));
    let row = csv.lines().find(|line| line.starts_with("tiny,3,,,"));
    assert!(row.is_some_and(|line| line.contains("false, in ")), "{csv}");
}

#[test]
fn a_model_is_shown_beside_what_its_competition_allows_and_what_no_record_has() {
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    let model = home.page(&format!("/model/{}", player(2, 0.1).root().hex()));
    let most = dashboard::figures::grouped(judge.rules.model.n_parameters_max);
    for said in [
        most.as_str(),
        "<dt>Architectures</dt><dd>llama</dd>",
        "a sample of what it writes",
        "look into its repo, <a href=\"https://hub.example/miner2/model",
    ] {
        assert!(model.contains(said), "no {said} in {model}");
    }
}
