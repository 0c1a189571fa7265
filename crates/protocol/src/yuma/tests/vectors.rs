//! Epochs that a real runtime computed.

use crate::yuma::{Input, Output, epoch};

#[derive(serde::Deserialize)]
struct File {
    cases: Vec<serde_json::Value>,
}

#[test]
fn epochs_of_a_real_runtime_are_reproduced_to_the_bit() {
    let file = "../../testdata/yuma/runtime-143.json";
    let file: File = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(file.cases.len(), 6);
    for (i, case) in file.cases.iter().enumerate() {
        let input: Input = serde_json::from_value(case.clone()).unwrap();
        let expected: Output = serde_json::from_value(case["expect"].clone()).unwrap();
        let ours = epoch(&input).unwrap();
        let ours: Output = serde_json::from_value(serde_json::to_value(ours).unwrap()).unwrap();
        assert_eq!(ours, expected, "case {i}");
    }
}
